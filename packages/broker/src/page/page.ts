import { EXECUTOR_STATES } from '../executors/states.js';
import page from './index.html' with { type: 'text' };
import style from './kpx.css' with { type: 'text' };
import script from './kpx.js' with { type: 'text' };
import icon from './kpx.svg' with { type: 'text' };

/** Files that a browser gets as they are. */
interface PageFile {
  readonly type: string;
  readonly text: string;
}

/** Rows of the legend: they are there before the script has been told anything, so that nothing moves. */
const LEGEND = EXECUTOR_STATES.map(
  (state) => `<tr><th scope="row"><i class="${state}"></i>${state}</th><td id="${state}">–</td></tr>`,
).join('');

/** The status page and what belongs to it; the rest it is told by the events at `/events`. */
export const PAGE: Readonly<Record<string, PageFile>> = {
  '/': { type: 'text/html; charset=utf-8', text: page.replace('<tbody id="states">', `$&${LEGEND}`) },
  '/kpx.css': { type: 'text/css; charset=utf-8', text: style },
  '/kpx.js': { type: 'text/javascript; charset=utf-8', text: script },
  '/kpx.svg': { type: 'image/svg+xml', text: icon },
};

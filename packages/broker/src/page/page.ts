import { EXECUTOR_STATES } from '../executors/states.js';
import type { Answer, Route, Routes } from '../http/server.js';
import page from './index.html' with { type: 'text' };
import style from './kpx.css' with { type: 'text' };
import script from './kpx.js' with { type: 'text' };
import icon from './kpx.svg' with { type: 'text' };

const file = (type: string, text: string): Route => {
  const answer: Answer = { type, text };
  return { method: 'GET', answer: () => answer };
};

/** Rows of the legend: they are there before the script has been told anything, so that nothing moves. */
const LEGEND = EXECUTOR_STATES.map(
  (state) => `<tr><th scope="row"><i class="${state}"></i>${state}</th><td id="${state}">–</td></tr>`,
).join('');

/** The status page and what belongs to it; the rest it is told by the events at `/events`. */
export const PAGE: Routes = {
  '/': file('text/html; charset=utf-8', page.replace('<tbody id="states">', `$&${LEGEND}`)),
  '/kpx.css': file('text/css; charset=utf-8', style),
  '/kpx.js': file('text/javascript; charset=utf-8', script),
  '/kpx.svg': file('image/svg+xml', icon),
};

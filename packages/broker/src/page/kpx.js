// @ts-check
// The status page of kpx: shows what the broker says at /events, and asks for nothing else. All text is set as text, never as markup.

/**
 * @typedef {import('./snapshot.js').Now} Now
 * @typedef {import('./snapshot.js').People} People
 * @typedef {import('./snapshot.js').Snapshot['decisions']} Decisions
 * @typedef {{ at: number, counts: Record<string, number> | undefined }} Sample what was so from then on; undefined: not known
 */

/** The span of the charts, in minutes: as little as has everything since the page was opened. */
const SPANS_MINUTES = [1, 2, 5, 10];
const MINUTE_MS = 60_000;
const HISTORY_MS = 10 * MINUTE_MS;
const REDRAW_MS = 1_000;
const RECONNECT_MS = 2_000;
/** The broker sends something every 10 seconds. */
const SILENCE_MS_MAX = 30_000;
/** Users who have waited for room for so long are told of beside the connections. */
const WAIT_MS_WORTH_SAYING = 10_000;
/** Units of the charts' viewBox. */
const WIDTH = 600;
const HEIGHT = 100;

/** @type {Sample[]} The oldest first. */
let history = [];
/** @type {Partial<import('./snapshot.js').Snapshot>} As the broker has said last. */
let said = {};
let paused = false;
/** @type {() => void} Shows the names that are shown once more: while the page is paused, there may be newer ones. */
let namesAgain = () => {};
let heardAt = 0;

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`there is no #${id}`);
  return found;
}

/**
 * @param {string | Element} where
 * @param {string | number} value
 */
function write(where, value) {
  const target = typeof where === 'string' ? element(where) : where;
  const text = typeof value === 'number' ? value.toLocaleString('en') : value;
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Text, shape and colour tell whether it is good or bad.
 * @param {string} id
 * @param {'good' | 'bad' | 'waiting'} is
 * @param {string} text
 */
function tell(id, is, text) {
  element(id).dataset.is = is;
  write(id, text);
}

/**
 * Rows are used again, so that nothing moves and no focus is lost.
 * @param {string} id of a tbody
 * @param {(string | number | HTMLElement)[][]} rows
 * @param {string} otherwise what it says where there are none
 */
function fill(id, rows, otherwise) {
  const body = /** @type {HTMLTableSectionElement} */ (element(id));
  const columns = body.parentElement?.querySelectorAll('thead th').length ?? 1;
  const shown = rows.length === 0 ? [[otherwise]] : rows;
  for (const [index, cells] of shown.entries()) {
    const row = body.rows[index] ?? body.insertRow();
    while (row.cells.length > cells.length) row.deleteCell(-1);
    for (const [column, value] of cells.entries()) {
      const cell = row.cells[column] ?? row.insertCell();
      cell.colSpan = cells.length === 1 ? columns : 1;
      cell.className = typeof value === 'number' ? 'number' : '';
      if (!(value instanceof HTMLElement)) write(cell, value);
      else if (cell.firstElementChild?.outerHTML !== value.outerHTML) cell.replaceChildren(value);
    }
  }
  while (body.rows.length > shown.length) body.deleteRow(-1);
}

/** @param {Date} date */
const clock = (date) => date.toLocaleTimeString('en-GB');

/** @param {Date} date */
function moment(date) {
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(date) : `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${clock(date)}`;
}

/**
 * @param {string} name
 * @param {number} value
 * @param {number} most
 */
function bar(name, value, most) {
  const meter = /** @type {HTMLMeterElement} */ (element(`${name}-meter`));
  meter.max = Math.max(most, value);
  meter.high = most * 0.8;
  meter.optimum = 0;
  meter.value = value;
  write(`${name}-count`, `${value.toLocaleString('en')} of ${most.toLocaleString('en')}`);
}

/** How each level looks, and is called in the title. */
const LEVELS = /** @type {const} */ ({
  well: { is: 'good', title: 'all is well' },
  attention: { is: 'waiting', title: 'needs attention' },
  trouble: { is: 'bad', title: 'trouble' },
});

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {Now} now */
function showVerdict({ verdict }) {
  const { level, headline, problems } = verdict;
  tell('headline', LEVELS[level].is, capital(headline));
  const list = element('problems');
  // The headline has the first problem already.
  const lines = problems.map(({ what, next }, at) => [at === 0 ? '' : capital(what), next]);
  if (lines.length === 0) lines.push(['', 'Nobody has to do anything.']);
  if (list.dataset.lines === JSON.stringify(lines)) return;
  list.dataset.lines = JSON.stringify(lines);
  list.replaceChildren(
    ...lines.map(([what = '', next = '']) => {
      const item = document.createElement('li');
      if (what !== '') item.appendChild(document.createElement('b')).textContent = what;
      item.append(next);
      return item;
    }),
  );
}

/** @param {Now} now */
function showStarts({ drain, sick, capacity }) {
  const { executors, max_executors, waiting, longest_wait } = capacity;
  if (drain !== null) return tell('starts', 'bad', `none is started: ${drain}`);
  if (sick) return tell('starts', 'bad', 'none is started: those of several users in a row failed');
  const full = executors >= max_executors ? `full, ${executors} of ${max_executors}` : '';
  if (longest_wait < WAIT_MS_WORTH_SAYING) return tell('starts', 'good', full || 'started when jobs arrive');
  const seconds = Math.floor(longest_wait / 1_000);
  const long = seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  const users = waiting === 1 ? '1 user waits' : `${waiting.toLocaleString('en')} users wait`;
  tell('starts', 'bad', `${full === '' ? '' : `${full}; `}${users}, the longest for ${long}`);
}

/** @param {Now} now */
function showSealed({ sealed }) {
  element('sealed').hidden = sealed === null;
  if (!sealed) return;
  const counts = Object.entries(sealed.accounts);
  bar(
    'vhosts',
    counts.reduce((sum, [, count]) => sum + count, 0),
    sealed.vhosts_max,
  );
  for (const [state, count] of counts) write(`vhosts-${state}`, count);
  write('vhosts-jobs', sealed.jobs_waiting);
  write('not-sealed', sealed.shared);
  const refused = sealed.refused.map(({ reason, meaning, messages }) => [reason, meaning, messages]);
  fill('refused', refused, 'Nothing was refused since the broker was started.');
}

/** @param {Now} now */
function showNow(now) {
  const { capacity, executors, jobs } = now;
  write('host', now.host);
  write(
    'broker',
    `version ${now.version}, since ${new Date(now.since).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' })}`,
  );
  tell('rabbitmq', now.rabbitmq ? 'good' : 'bad', now.absent.rabbitmq ?? `consuming ${now.queue}`);
  tell('helper', now.helper ? 'good' : 'bad', now.absent.helper ?? 'connected');
  showVerdict(now);
  showStarts(now);
  bar('executors', capacity.executors, capacity.max_executors);
  bar('starting', capacity.starting, capacity.max_starting);
  bar('held', capacity.held, capacity.held_max);
  for (const [outcome, count] of Object.entries(jobs)) write(outcome, count);
  for (const queue of /** @type {const} */ (['jobs', 'delayed', 'dead_letters'])) write(`queue-${queue}`, now.queues?.[queue] ?? '–');
  for (const [state, count] of Object.entries(executors)) write(state, count);
  write('held', capacity.held);
  write('line', capacity.waiting);
  showSealed(now);
  const states = now.users.map(({ state, meaning, users }) => [state, meaning, users]);
  fill('users', states, 'Nobody has jobs here, an executor, or failed starts.');
  const letters = now.parked.map(({ reason, advice, jobs }) => [reason, advice, jobs]);
  fill('letters', letters, 'No job has been parked since the broker was started.');
}

/**
 * @param {People | null} people
 * @param {Decisions} decisions
 */
function showNames(people, decisions) {
  namesAgain = () => showNames(people, decisions);
  element('no-names').hidden = people !== null;
  for (const section of document.querySelectorAll('.named')) /** @type {HTMLElement} */ (section).hidden = people === null;
  if (!people || !decisions) {
    for (const id of ['waiting', 'people', 'decisions']) element(id).replaceChildren();
    return;
  }
  const waiting = found(people.waiting.map(({ user, state, why, held }) => [user, state, why, held]));
  fill('waiting', beyond(waiting, people.waitingBeyond), nothing('Nobody waits.'));
  const executors = found(people.executors.map(({ user, os_user, state, pid }) => [user, os_user, state, String(pid)]));
  fill('people', beyond(executors, people.executorsBeyond), nothing('No executor runs.'));
  const rows = found(decisions.map(({ at, user, what }) => [time(at), user, what]));
  fill('decisions', rows, nothing('Nothing has been decided since the broker was started.'));
}

const wanted = () => /** @type {HTMLInputElement} */ (element('find')).value.trim().toLowerCase();

/**
 * The rows that have the wanted text in one of their cells.
 * @template {string | number | HTMLElement} C
 * @param {C[][]} rows
 */
function found(rows) {
  const text = wanted();
  const has = (/** @type {C} */ cell) =>
    (cell instanceof HTMLElement ? (cell.textContent ?? '') : String(cell)).toLowerCase().includes(text);
  return text === '' ? rows : rows.filter((cells) => cells.some(has));
}

/** @param {string} otherwise */
const nothing = (otherwise) => (wanted() === '' ? otherwise : 'Nothing here has that word.');

/**
 * @param {(string | number)[][]} rows
 * @param {number} count
 */
const beyond = (rows, count) => (count === 0 ? rows : [...rows, [`… and ${count.toLocaleString('en')} more: kpxctl status --json`]]);

/** @param {string} at ISO 8601 */
function time(at) {
  const shown = document.createElement('time');
  shown.dateTime = at;
  shown.textContent = moment(new Date(at));
  return shown;
}

/** @param {Record<string, number> | undefined} counts */
function remember(counts) {
  const at = Date.now();
  history.push({ at, counts });
  // The one before is what was so when the chart begins.
  const first = history.findIndex((sample) => sample.at >= at - HISTORY_MS);
  history = history.slice(Math.max(0, first - 1));
}

/**
 * Steps of a series, as the outline of what lies between `low` and `high`; a gap where nothing is known.
 * @param {number} now
 * @param {number} span in milliseconds
 * @param {number} most
 * @param {(counts: Record<string, number>) => [low: number, high: number]} reach
 * @param {boolean} area
 */
function outline(now, span, most, reach, area) {
  const x = (/** @type {number} */ at) => Math.max(0, WIDTH - ((now - at) / span) * WIDTH).toFixed(1);
  const y = (/** @type {number} */ count) => (HEIGHT - 2 - (count / most) * (HEIGHT - 6)).toFixed(1);
  let path = '';
  let top = '';
  let bottom = '';
  for (const [index, { at, counts }] of history.entries()) {
    if (!counts) continue;
    const [low, high] = reach(counts);
    const next = history[index + 1];
    const [from, to] = [x(at), x(next?.at ?? now)];
    top += `${top === '' ? 'M' : 'L'}${from} ${y(high)}H${to}`;
    bottom = `L${to} ${y(low)}H${from}${bottom}`;
    if (next?.counts) continue;
    path += area ? `${top}${bottom}Z` : top;
    top = bottom = '';
  }
  return path;
}

/**
 * @param {string} name
 * @param {string[]} series
 * @param {boolean} stacked areas, or lines
 * @param {(counts: Record<string, number>) => number} total
 */
function draw(name, series, stacked, total) {
  const now = Date.now();
  const known = history.flatMap(({ counts }) => (counts ? [total(counts)] : []));
  const most = Math.max(1, ...known);
  const since = now - (history[0]?.at ?? now);
  const minutes = SPANS_MINUTES.find((count) => count * MINUTE_MS >= since) ?? HISTORY_MS / MINUTE_MS;
  write(`${name}-from`, minutes === 1 ? '1 minute ago' : `${minutes} minutes ago`);
  write(`${name}-most`, known.length === 0 ? '' : `scale: 0 to ${most.toLocaleString('en')}`);
  const chart = element(`${name}-chart`);
  for (const [index, key] of series.entries()) {
    const path = chart.children[index] ?? chart.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
    path.setAttribute('class', key);
    const below = stacked ? series.slice(0, index) : [];
    path.setAttribute(
      'd',
      outline(
        now,
        minutes * MINUTE_MS,
        most,
        (counts) => {
          const low = below.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
          return [low, low + (counts[key] ?? 0)];
        },
        stacked,
      ),
    );
  }
  return known;
}

function drawBoth() {
  const states = Object.keys(said.now?.executors ?? {}).reverse(); // the oldest ones at the bottom
  const executors = draw('executors', states, true, (counts) => states.reduce((sum, state) => sum + (counts[state] ?? 0), 0));
  draw('queue', ['held', 'line'], false, (counts) => Math.max(counts.held ?? 0, counts.line ?? 0));
  const last = history.findLast(({ counts }) => counts)?.counts;
  if (!last) return;
  const since = `Since ${clock(new Date(history[0]?.at ?? Date.now()))}`;
  const [fewest, most] = [Math.min(...executors), Math.max(...executors)];
  write(
    'executors-said',
    `${since}: ${fewest === most ? `${most} executors all the time` : `${fewest} to ${most} executors, ${executors.at(-1)} now`}.`,
  );
  const held = history.flatMap(({ counts }) => (counts ? [counts.held ?? 0] : []));
  write('queue-said', `${since}: at most ${Math.max(...held).toLocaleString('en')} jobs held at once, ${last.held} now.`);
}

function show() {
  if (paused || !said.now) return;
  showNow(said.now);
  if (said.people !== undefined && said.decisions !== undefined) showNames(said.people, said.decisions);
  drawBoth();
}

/**
 * @param {keyof import('./snapshot.js').Snapshot} name
 * @param {string} data JSON
 */
function heard(name, data) {
  heardAt = Date.now();
  delete document.body.dataset.old;
  said = { ...said, [name]: JSON.parse(data) };
  if (name === 'now' && said.now) {
    const { capacity, executors } = said.now;
    remember({ ...executors, held: capacity.held, line: capacity.waiting });
    document.title = `${LEVELS[said.now.verdict.level].title}: kpx ${said.now.host}`;
  }
  live();
  show();
}

function live() {
  if (paused) tell('connection', 'waiting', `Paused: as of ${clock(new Date(heardAt))}.`);
  else tell('connection', 'good', 'Live');
}

/** @type {EventSource | undefined} */
let source;
let connectedAt = 0;

/** A browser tries again by itself only where nobody answers, not where it is refused. */
function connect() {
  const mine = new EventSource('events');
  source = mine;
  connectedAt = Date.now();
  for (const name of /** @type {const} */ (['now', 'people', 'decisions'])) {
    mine.addEventListener(name, ({ data }) => heard(name, data));
  }
  mine.addEventListener('alive', () => {
    heardAt = Date.now();
  });
  mine.addEventListener('error', lost);
}

/** The broker ends each stream after a while: what is old is told only where there is no other at once. */
function lost() {
  source?.close();
  if (Date.now() - connectedAt > MINUTE_MS) return connect();
  document.body.dataset.old = '';
  if (history.at(-1)?.counts) remember(undefined);
  if (heardAt === 0) tell('connection', 'bad', 'The broker does not answer, or has as many pages to serve as it may. Trying again.');
  else tell('connection', 'bad', `Not connected: all of this is as of ${moment(new Date(heardAt))}. Trying again.`);
  if (said.now) document.title = `Not connected: kpx ${said.now.host}`;
  setTimeout(connect, RECONNECT_MS);
}

setInterval(() => {
  const open = source?.readyState === EventSource.OPEN;
  if (open && Date.now() - heardAt > SILENCE_MS_MAX) lost();
  else if (open && !document.hidden && !paused) drawBoth();
}, REDRAW_MS);

element('pause').addEventListener('click', ({ currentTarget }) => {
  paused = !paused;
  const button = /** @type {HTMLButtonElement} */ (currentTarget);
  button.setAttribute('aria-pressed', String(paused));
  if (source?.readyState === EventSource.OPEN) live();
  show();
});

element('find').addEventListener('input', () => namesAgain());

connect();

import { askBroker, tellBroker } from '@kpx/broker/control/client';
import { durationText } from '@kpx/broker/output/duration';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { jsonLine, shellWord, table } from '@kpx/broker/output/format';
import { bold, say, screenWidth } from '@kpx/broker/output/terminal';
import type { Cancelled, JobStories, JobStory } from '@kpx/broker/record/job-story';
import { printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { asksBroker, type BrokerOptions } from './broker-options.js';
import { controlSocket } from './control-socket.js';
import { orRefusal } from './refusal.js';

/** AMQP has no longer id; a character that is printed as an escape takes six. */
const ID_CHARS_MAX = 255;
const ID_PRINTED_CHARS_MAX = 6 * ID_CHARS_MAX;
const NAME_CHARS = 14;
/** Of a time of ISO 8601: it is in the table without its day, which is above it. */
const DAY_CHARS = 10;

const ID = 'message id, correlation id, or the id that kpx gives';

export function addJob(program: Command): void {
  const job = program
    .command('job')
    .summary("one job's story: seen, held and why, offered, taken, parked")
    .description('Says what became of one job, where it is now, and what to do. Asks the running broker; changes nothing.')
    .argument('<ID>', ID);
  asksBroker(job).action(tell);
  const cancel = program
    .command('cancel')
    .summary('park a job that still waits')
    .description(
      'Has the running broker park a job that still waits in kpx.dead-letter, as CANCELLED. A job that an executor has is not cancelled.',
    )
    .argument('<ID>', ID);
  asksBroker(cancel).action(order);
}

/** Judged here, and not by the parser of arguments, which would repeat 64 KiB to the operator. */
function about(id: string): URLSearchParams {
  const most = id.includes('\\u') ? ID_PRINTED_CHARS_MAX : ID_CHARS_MAX;
  if (id.length > 0 && id.length <= most) return new URLSearchParams({ id });
  const has = id === '' ? 'is empty' : `has ${id.length} characters`;
  throw new CommandError(
    EXIT.usage,
    `This is no id of a job: it ${has}, and AMQP has ids of 1 to ${ID_CHARS_MAX}. Give one as the log has it (job, kpx_id).`,
  );
}

async function tell(id: string, { config, json }: BrokerOptions): Promise<void> {
  const answer = (await orRefusal(askBroker(await controlSocket(config), `/job?${about(id)}`))) as JobStories;
  say(
    json
      ? `${jsonLine(answer)}\n`
      : forPeople(answer)
          .map((line) => `${line}\n`)
          .join(''),
  );
}

function forPeople({ jobs, kept }: JobStories): string[] {
  const heading = jobs.length === 1 ? [] : [`${jobs.length} jobs have this id, the one that was heard of last at the end.`, ''];
  const stories = jobs.flatMap((job, index) => (index === 0 ? storyOf(job) : ['', ...storyOf(job)]));
  const kpxKeeps = `kpx keeps the last ${kept.jobs_max.toLocaleString('en')} jobs, for up to ${durationText(kept.ms_max)}.`;
  return [...heading, ...stories, '', kpxKeeps];
}

function storyOf(job: JobStory): string[] {
  const { id, message_id, correlation_id, traceparent, user, host, first_seen, headline, next, steps, left_out } = job;
  const rows = [
    ['the job', headline],
    ...(next === '' ? [] : [['next step', next]]),
    ['id of kpx', id],
    ['message id', message_id ?? 'none'],
    ['correlation id', correlation_id ?? 'none'],
    ['traceparent', traceparent ?? 'none'],
    ['user', user ?? 'none that kpx takes'],
    ['on host', host],
    ['first seen', first_seen],
  ];
  const lines = steps.map(({ at, for_ms, text, request }) => [
    at.slice(DAY_CHARS + 1),
    durationText(for_ms),
    request === undefined ? text : `${text} (request ${request} in the audit log)`,
  ]);
  const missing = left_out === 0 ? [] : [`${left_out} steps after the fourth of the job are not remembered.`];
  return [
    ...rows.map(([name = '', value = '']) => `${bold(name.padEnd(NAME_CHARS))} ${printable(value)}`),
    '',
    ...table(['AT (UTC)', 'FOR', 'STEP'], lines, screenWidth()),
    ...missing,
  ];
}

async function order(id: string, { config, json }: BrokerOptions): Promise<void> {
  const answer = (await orRefusal(tellBroker(await controlSocket(config), `/cancel?${about(id)}`))) as Cancelled;
  say(json ? `${jsonLine(answer)}\n` : `${printable(outcome(answer))}\n`);
}

const outcome = ({ id, parked }: Cancelled) =>
  parked
    ? `Cancelled: job ${id} goes to kpx.dead-letter, with the reason CANCELLED. kpxctl dead-letters replay puts it back.`
    : `Job ${id} waits in a delay queue, or is in the job queue again. It goes to kpx.dead-letter when it comes here, unless an executor or another host takes it first: kpxctl job ${shellWord(id)} says.`;

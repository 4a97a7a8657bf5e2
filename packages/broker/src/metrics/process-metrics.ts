import { readFileSync } from 'node:fs';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from 'prom-client';

/*
 * What the process itself needs, under the names that Prometheus' clients for Node have for it. prom-client's own come all together, and together they
 * also watch every garbage collection and every handle.
 */

const MICROSECONDS = 1e6;
const NANOSECONDS = 1e9;
/** How often the event loop is looked at, in milliseconds. */
const EVENT_LOOP_LOOK_MS = 10;

type Measured = readonly (readonly [name: string, help: string, value: () => number])[];

/** Each is measured when it is asked for. */
export function collectProcessMetrics(registry: Registry): void {
  for (const [name, help, seconds] of processorTimes()) {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(seconds());
      },
    });
  }
  for (const [name, help, value] of [...memory(), ...eventLoop()]) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  }
  const started = new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start time of the process since unix epoch in seconds.',
    registers: [registry],
  });
  started.set(Math.round(Date.now() / 1_000 - process.uptime()));
}

function processorTimes(): Measured {
  const seconds = (of: (usage: NodeJS.CpuUsage) => number) => () => of(process.cpuUsage()) / MICROSECONDS;
  return [
    ['process_cpu_user_seconds_total', 'Total user CPU time spent in seconds.', seconds(({ user }) => user)],
    ['process_cpu_system_seconds_total', 'Total system CPU time spent in seconds.', seconds(({ system }) => system)],
    ['process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.', seconds(({ user, system }) => user + system)],
  ];
}

function memory(): Measured {
  const heap = (of: keyof NodeJS.MemoryUsage) => () => process.memoryUsage()[of];
  return [
    ['process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss()],
    ['process_virtual_memory_bytes', 'Virtual memory size in bytes.', () => statusBytes('VmSize')],
    ['process_heap_bytes', 'Process heap size in bytes.', () => statusBytes('VmData')],
    ['nodejs_heap_size_total_bytes', 'Process heap size from Node.js in bytes.', heap('heapTotal')],
    ['nodejs_heap_size_used_bytes', 'Process heap size used from Node.js in bytes.', heap('heapUsed')],
    ['nodejs_external_memory_bytes', 'Node.js external memory size in bytes.', heap('external')],
  ];
}

/** Source: proc(5), /proc/PID/status, in KiB. */
const statusBytes = (field: string) =>
  1_024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

/** Of the time since the last one was asked for: the last in the list begins anew. */
function eventLoop(): Measured {
  const delays = monitorEventLoopDelay({ resolution: EVENT_LOOP_LOOK_MS });
  delays.enable();
  const seconds = (of: (delays: IntervalHistogram) => number) => () => of(delays) / NANOSECONDS;
  const percentile = (which: number) => seconds((all) => all.percentile(which));
  const last = () => {
    const p99 = percentile(99)();
    delays.reset();
    return p99;
  };
  return [
    ['nodejs_eventloop_lag_min_seconds', 'The minimum recorded event loop delay.', seconds(({ min }) => min)],
    ['nodejs_eventloop_lag_max_seconds', 'The maximum recorded event loop delay.', seconds(({ max }) => max)],
    ['nodejs_eventloop_lag_mean_seconds', 'The mean of the recorded event loop delays.', seconds(({ mean }) => mean)],
    ['nodejs_eventloop_lag_stddev_seconds', 'The standard deviation of the recorded event loop delays.', seconds(({ stddev }) => stddev)],
    ['nodejs_eventloop_lag_p50_seconds', 'The 50th percentile of the recorded event loop delays.', percentile(50)],
    ['nodejs_eventloop_lag_p90_seconds', 'The 90th percentile of the recorded event loop delays.', percentile(90)],
    ['nodejs_eventloop_lag_p99_seconds', 'The 99th percentile of the recorded event loop delays.', last],
  ];
}

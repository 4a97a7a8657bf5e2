import * as z from 'zod';
import { ERRORS, type ErrorCode } from './errors.js';
import { kpx } from './generated/privhelper.js';
import { EXECUTORS_PER_PAGE, KNIME_USERS_PER_ACCOUNT_MAX, MESSAGE_CHARS_MAX, PROFILES_MAX } from './limits.js';
import { knimeUserSchema, osUserSchema, profileNameSchema } from './names.js';
import { NODE } from './sealed.js';

/*
 * The requests of the broker to the helper, and their results: {@link VERBS}, a row each. Codec, session and client derive everything from it. Values
 * that proto3 does not write (0, false, empty text) are absent after decoding, hence the defaults; a list is there.
 */

export const StopMode = { graceful: kpx.StopMode.STOP_MODE_GRACEFUL, kill: kpx.StopMode.STOP_MODE_KILL } as const;
export const SpawnOutcome = {
  started: kpx.SpawnOutcome.SPAWN_OUTCOME_STARTED,
  alreadyRunning: kpx.SpawnOutcome.SPAWN_OUTCOME_ALREADY_RUNNING,
} as const;
export const ExecutorState = {
  running: kpx.ExecutorState.EXECUTOR_STATE_RUNNING,
  stopping: kpx.ExecutorState.EXECUTOR_STATE_STOPPING,
  exited: kpx.ExecutorState.EXECUTOR_STATE_EXITED,
} as const;

export type StopMode = (typeof StopMode)[keyof typeof StopMode];
export type SpawnOutcome = (typeof SpawnOutcome)[keyof typeof SpawnOutcome];
export type ExecutorState = (typeof ExecutorState)[keyof typeof ExecutorState];

/** 4 bytes of salt and 32 of SHA-256 in base64. */
const PASSWORD_HASH = /^[A-Za-z0-9+/]{48}$/;

const uint32 = z.int().min(0).max(0xffff_ffff);
export const positive = uint32.min(1);

const executorSchema = z
  .strictObject({
    osUser: osUserSchema,
    /** 0: the executor has ended, and nobody knows any more. */
    uid: uint32.default(0),
    knimeUsers: z.array(knimeUserSchema).max(KNIME_USERS_PER_ACCOUNT_MAX),
    state: z.enum(ExecutorState),
    /** Milliseconds since the epoch. */
    sinceMs: z.int().min(1),
    mainPid: uint32.default(0),
    lastExit: z.string().max(MESSAGE_CHARS_MAX).default(''),
    /** Processor time since the start; 0: not known. */
    cpuMs: z.int().min(0).default(0),
    /** Why its account would be refused an executor now. */
    refusal: z.string().min(1).max(MESSAGE_CHARS_MAX).optional(),
  })
  .refine(({ uid, state }) => uid > 0 || state === ExecutorState.exited, { path: ['uid'], message: 'a running executor of uid 0' });
export type ExecutorInfo = z.output<typeof executorSchema>;

/** A verb's request, the name and content of its result, and whether it has to come first on a connection, once. */
interface Row {
  readonly first: boolean;
  readonly request: z.ZodType;
  readonly kind: string;
  readonly result: z.ZodType;
}

export const VERBS = {
  hello: {
    first: true,
    request: z.strictObject({ version: positive }),
    kind: 'hello',
    result: z.strictObject({
      version: positive,
      profiles: z.array(profileNameSchema).max(PROFILES_MAX + 1),
      /** Only while executors are sealed. */
      sealedNode: z.string().regex(NODE).optional(),
      /** Only where names that differ in case alone are one user's. */
      foldsCase: z.literal(true).optional(),
    }),
  },
  prepareUser: {
    first: false,
    request: z.strictObject({ knimeUser: knimeUserSchema }),
    kind: 'userPrepared',
    result: z.strictObject({
      osUser: osUserSchema,
      uid: positive,
      created: z.array(z.enum(['home', 'workspace', 'temp'])).max(3),
      /** Only while executors are sealed. */
      passwordHash: z.string().regex(PASSWORD_HASH).optional(),
    }),
  },
  spawnExecutor: {
    first: false,
    request: z.strictObject({ knimeUser: knimeUserSchema, profile: profileNameSchema }),
    kind: 'executorSpawned',
    result: z.strictObject({ outcome: z.enum(SpawnOutcome), executor: executorSchema }),
  },
  stopExecutor: {
    first: false,
    request: z.strictObject({ knimeUser: knimeUserSchema, mode: z.enum(StopMode) }),
    kind: 'executorStopped',
    /** Uid 0: whose it was is not known. */
    result: z.strictObject({ osUser: osUserSchema, uid: uint32.default(0) }),
  },
  listExecutors: {
    first: false,
    request: z.strictObject({ page: positive, judge: z.literal(true).optional() }),
    kind: 'executorPage',
    result: z.strictObject({ executors: z.array(executorSchema).max(EXECUTORS_PER_PAGE), more: z.boolean().default(false) }),
  },
} as const satisfies Readonly<Record<string, Row>>;

/** Instead of any result. */
const error = z.strictObject({
  code: positive
    .refine((number) => errorCodeOf(number) !== undefined, 'unknown error code')
    .transform((number) => errorCodeOf(number) as ErrorCode),
  message: z.string().max(MESSAGE_CHARS_MAX).default(''),
});

function errorCodeOf(number: number): ErrorCode | undefined {
  return (Object.keys(ERRORS) as ErrorCode[]).find((code) => kpx.ErrorCode[code] === number);
}

type Verbs = typeof VERBS;
export type Verb = keyof Verbs;
export type RequestBody<V extends Verb> = z.output<Verbs[V]['request']>;
export type Request = { [V in Verb]: { id: number; verb: V; body: RequestBody<V> } }[Verb];

type Results = { [V in Verb as Verbs[V]['kind']]: Verbs[V]['result'] } & { error: typeof error };
/** The content of a response, by its kind. */
export const RESULTS = { ...Object.fromEntries(Object.values(VERBS).map(({ kind, result }) => [kind, result])), error } as Results;
type ResultKind = keyof Results;
export type ResultBody<K extends ResultKind> = z.output<Results[K]>;
/** Of the verb, where it is no error. */
export type ResultOf<V extends Verb> = z.output<Verbs[V]['result']>;
export type Response = { [K in ResultKind]: { id: number; kind: K; body: ResultBody<K> } }[ResultKind];

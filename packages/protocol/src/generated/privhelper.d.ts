import * as $protobuf from "protobufjs/minimal.js";
import Long = require("long");

/** Namespace kpx. */
export namespace kpx {

    /**
     * Properties of a Request.
     * @deprecated Use kpx.Request.$Properties instead.
     */
    interface IRequest extends kpx.Request.$Properties {
    }

    /** Represents a Request. */
    class Request {

        /**
         * Constructs a new Request.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.Request.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** Request id. */
        id: number;

        /** Request hello. */
        hello?: (kpx.Hello.$Properties|null);

        /** Request prepareUser. */
        prepareUser?: (kpx.PrepareUser.$Properties|null);

        /** Request spawnExecutor. */
        spawnExecutor?: (kpx.SpawnExecutor.$Properties|null);

        /** Request stopExecutor. */
        stopExecutor?: (kpx.StopExecutor.$Properties|null);

        /** Request listExecutors. */
        listExecutors?: (kpx.ListExecutors.$Properties|null);

        /** Request op. */
        op?: ("hello"|"prepareUser"|"spawnExecutor"|"stopExecutor"|"listExecutors");

        /**
         * Encodes the specified Request message. Does not implicitly {@link kpx.Request.verify|verify} messages.
         * @param message Request message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.Request.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a Request message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.Request & kpx.Request.$Shape} Request
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.Request & kpx.Request.$Shape;
    }

    namespace Request {

        /** Properties of a Request. */
        interface $Properties {

            /** Request id */
            id?: (number|null);

            /** Request hello */
            hello?: (kpx.Hello.$Properties|null);

            /** Request prepareUser */
            prepareUser?: (kpx.PrepareUser.$Properties|null);

            /** Request spawnExecutor */
            spawnExecutor?: (kpx.SpawnExecutor.$Properties|null);

            /** Request stopExecutor */
            stopExecutor?: (kpx.StopExecutor.$Properties|null);

            /** Request listExecutors */
            listExecutors?: (kpx.ListExecutors.$Properties|null);

            /** Request op */
            op?: ("hello"|"prepareUser"|"spawnExecutor"|"stopExecutor"|"listExecutors");

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Narrowed shape of a Request. */
        type $Shape = {
          id?: number|null;
          hello?: kpx.Hello.$Shape|null;
          prepareUser?: kpx.PrepareUser.$Shape|null;
          spawnExecutor?: kpx.SpawnExecutor.$Shape|null;
          stopExecutor?: kpx.StopExecutor.$Shape|null;
          listExecutors?: kpx.ListExecutors.$Shape|null;
          $unknowns?: Uint8Array[];
        } & (
          ({ op?: undefined; hello?: null; prepareUser?: null; spawnExecutor?: null; stopExecutor?: null; listExecutors?: null }|{ op?: "hello"; hello: kpx.Hello.$Shape; prepareUser?: null; spawnExecutor?: null; stopExecutor?: null; listExecutors?: null }|{ op?: "prepareUser"; hello?: null; prepareUser: kpx.PrepareUser.$Shape; spawnExecutor?: null; stopExecutor?: null; listExecutors?: null }|{ op?: "spawnExecutor"; hello?: null; prepareUser?: null; spawnExecutor: kpx.SpawnExecutor.$Shape; stopExecutor?: null; listExecutors?: null }|{ op?: "stopExecutor"; hello?: null; prepareUser?: null; spawnExecutor?: null; stopExecutor: kpx.StopExecutor.$Shape; listExecutors?: null }|{ op?: "listExecutors"; hello?: null; prepareUser?: null; spawnExecutor?: null; stopExecutor?: null; listExecutors: kpx.ListExecutors.$Shape })
        );
    }

    /**
     * Properties of a Hello.
     * @deprecated Use kpx.Hello.$Properties instead.
     */
    interface IHello extends kpx.Hello.$Properties {
    }

    /** Represents a Hello. */
    class Hello {

        /**
         * Constructs a new Hello.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.Hello.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** Hello version. */
        version: number;

        /**
         * Encodes the specified Hello message. Does not implicitly {@link kpx.Hello.verify|verify} messages.
         * @param message Hello message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.Hello.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a Hello message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.Hello & kpx.Hello.$Shape} Hello
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.Hello & kpx.Hello.$Shape;
    }

    namespace Hello {

        /** Properties of a Hello. */
        interface $Properties {

            /** Hello version */
            version?: (number|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a Hello. */
        type $Shape = kpx.Hello.$Properties;
    }

    /**
     * Properties of a PrepareUser.
     * @deprecated Use kpx.PrepareUser.$Properties instead.
     */
    interface IPrepareUser extends kpx.PrepareUser.$Properties {
    }

    /** Represents a PrepareUser. */
    class PrepareUser {

        /**
         * Constructs a new PrepareUser.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.PrepareUser.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** PrepareUser knimeUser. */
        knimeUser: string;

        /**
         * Encodes the specified PrepareUser message. Does not implicitly {@link kpx.PrepareUser.verify|verify} messages.
         * @param message PrepareUser message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.PrepareUser.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a PrepareUser message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.PrepareUser & kpx.PrepareUser.$Shape} PrepareUser
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.PrepareUser & kpx.PrepareUser.$Shape;
    }

    namespace PrepareUser {

        /** Properties of a PrepareUser. */
        interface $Properties {

            /** PrepareUser knimeUser */
            knimeUser?: (string|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a PrepareUser. */
        type $Shape = kpx.PrepareUser.$Properties;
    }

    /**
     * Properties of a SpawnExecutor.
     * @deprecated Use kpx.SpawnExecutor.$Properties instead.
     */
    interface ISpawnExecutor extends kpx.SpawnExecutor.$Properties {
    }

    /** Represents a SpawnExecutor. */
    class SpawnExecutor {

        /**
         * Constructs a new SpawnExecutor.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.SpawnExecutor.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** SpawnExecutor knimeUser. */
        knimeUser: string;

        /** SpawnExecutor profile. */
        profile: string;

        /**
         * Encodes the specified SpawnExecutor message. Does not implicitly {@link kpx.SpawnExecutor.verify|verify} messages.
         * @param message SpawnExecutor message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.SpawnExecutor.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a SpawnExecutor message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.SpawnExecutor & kpx.SpawnExecutor.$Shape} SpawnExecutor
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.SpawnExecutor & kpx.SpawnExecutor.$Shape;
    }

    namespace SpawnExecutor {

        /** Properties of a SpawnExecutor. */
        interface $Properties {

            /** SpawnExecutor knimeUser */
            knimeUser?: (string|null);

            /** SpawnExecutor profile */
            profile?: (string|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a SpawnExecutor. */
        type $Shape = kpx.SpawnExecutor.$Properties;
    }

    /** StopMode enum. */
    enum StopMode {

        /** STOP_MODE_UNSPECIFIED value */
        STOP_MODE_UNSPECIFIED = 0,

        /** STOP_MODE_GRACEFUL value */
        STOP_MODE_GRACEFUL = 1,

        /** STOP_MODE_KILL value */
        STOP_MODE_KILL = 2
    }

    /**
     * Properties of a StopExecutor.
     * @deprecated Use kpx.StopExecutor.$Properties instead.
     */
    interface IStopExecutor extends kpx.StopExecutor.$Properties {
    }

    /** Represents a StopExecutor. */
    class StopExecutor {

        /**
         * Constructs a new StopExecutor.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.StopExecutor.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** StopExecutor knimeUser. */
        knimeUser: string;

        /** StopExecutor mode. */
        mode: kpx.StopMode;

        /**
         * Encodes the specified StopExecutor message. Does not implicitly {@link kpx.StopExecutor.verify|verify} messages.
         * @param message StopExecutor message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.StopExecutor.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a StopExecutor message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.StopExecutor & kpx.StopExecutor.$Shape} StopExecutor
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.StopExecutor & kpx.StopExecutor.$Shape;
    }

    namespace StopExecutor {

        /** Properties of a StopExecutor. */
        interface $Properties {

            /** StopExecutor knimeUser */
            knimeUser?: (string|null);

            /** StopExecutor mode */
            mode?: (kpx.StopMode|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a StopExecutor. */
        type $Shape = kpx.StopExecutor.$Properties;
    }

    /**
     * Properties of a ListExecutors.
     * @deprecated Use kpx.ListExecutors.$Properties instead.
     */
    interface IListExecutors extends kpx.ListExecutors.$Properties {
    }

    /** Represents a ListExecutors. */
    class ListExecutors {

        /**
         * Constructs a new ListExecutors.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.ListExecutors.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** ListExecutors page. */
        page: number;

        /** ListExecutors judge. */
        judge: boolean;

        /**
         * Encodes the specified ListExecutors message. Does not implicitly {@link kpx.ListExecutors.verify|verify} messages.
         * @param message ListExecutors message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.ListExecutors.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a ListExecutors message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.ListExecutors & kpx.ListExecutors.$Shape} ListExecutors
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.ListExecutors & kpx.ListExecutors.$Shape;
    }

    namespace ListExecutors {

        /** Properties of a ListExecutors. */
        interface $Properties {

            /** ListExecutors page */
            page?: (number|null);

            /** ListExecutors judge */
            judge?: (boolean|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a ListExecutors. */
        type $Shape = kpx.ListExecutors.$Properties;
    }

    /**
     * Properties of a Response.
     * @deprecated Use kpx.Response.$Properties instead.
     */
    interface IResponse extends kpx.Response.$Properties {
    }

    /** Represents a Response. */
    class Response {

        /**
         * Constructs a new Response.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.Response.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** Response id. */
        id: number;

        /** Response hello. */
        hello?: (kpx.HelloResult.$Properties|null);

        /** Response userPrepared. */
        userPrepared?: (kpx.UserPrepared.$Properties|null);

        /** Response executorSpawned. */
        executorSpawned?: (kpx.ExecutorSpawned.$Properties|null);

        /** Response executorStopped. */
        executorStopped?: (kpx.ExecutorStopped.$Properties|null);

        /** Response executorPage. */
        executorPage?: (kpx.ExecutorPage.$Properties|null);

        /** Response error. */
        error?: (kpx.Error.$Properties|null);

        /** Response result. */
        result?: ("hello"|"userPrepared"|"executorSpawned"|"executorStopped"|"executorPage"|"error");

        /**
         * Encodes the specified Response message. Does not implicitly {@link kpx.Response.verify|verify} messages.
         * @param message Response message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.Response.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a Response message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.Response & kpx.Response.$Shape} Response
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.Response & kpx.Response.$Shape;
    }

    namespace Response {

        /** Properties of a Response. */
        interface $Properties {

            /** Response id */
            id?: (number|null);

            /** Response hello */
            hello?: (kpx.HelloResult.$Properties|null);

            /** Response userPrepared */
            userPrepared?: (kpx.UserPrepared.$Properties|null);

            /** Response executorSpawned */
            executorSpawned?: (kpx.ExecutorSpawned.$Properties|null);

            /** Response executorStopped */
            executorStopped?: (kpx.ExecutorStopped.$Properties|null);

            /** Response executorPage */
            executorPage?: (kpx.ExecutorPage.$Properties|null);

            /** Response error */
            error?: (kpx.Error.$Properties|null);

            /** Response result */
            result?: ("hello"|"userPrepared"|"executorSpawned"|"executorStopped"|"executorPage"|"error");

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Narrowed shape of a Response. */
        type $Shape = {
          id?: number|null;
          hello?: kpx.HelloResult.$Shape|null;
          userPrepared?: kpx.UserPrepared.$Shape|null;
          executorSpawned?: kpx.ExecutorSpawned.$Shape|null;
          executorStopped?: kpx.ExecutorStopped.$Shape|null;
          executorPage?: kpx.ExecutorPage.$Shape|null;
          error?: kpx.Error.$Shape|null;
          $unknowns?: Uint8Array[];
        } & (
          ({ result?: undefined; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "hello"; hello: kpx.HelloResult.$Shape; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "userPrepared"; hello?: null; userPrepared: kpx.UserPrepared.$Shape; executorSpawned?: null; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "executorSpawned"; hello?: null; userPrepared?: null; executorSpawned: kpx.ExecutorSpawned.$Shape; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "executorStopped"; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped: kpx.ExecutorStopped.$Shape; executorPage?: null; error?: null }|{ result?: "executorPage"; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage: kpx.ExecutorPage.$Shape; error?: null }|{ result?: "error"; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage?: null; error: kpx.Error.$Shape })
        );
    }

    /**
     * Properties of a HelloResult.
     * @deprecated Use kpx.HelloResult.$Properties instead.
     */
    interface IHelloResult extends kpx.HelloResult.$Properties {
    }

    /** Represents a HelloResult. */
    class HelloResult {

        /**
         * Constructs a new HelloResult.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.HelloResult.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** HelloResult version. */
        version: number;

        /** HelloResult profiles. */
        profiles: string[];

        /** HelloResult sealedNode. */
        sealedNode: string;

        /** HelloResult foldsCase. */
        foldsCase: boolean;

        /**
         * Encodes the specified HelloResult message. Does not implicitly {@link kpx.HelloResult.verify|verify} messages.
         * @param message HelloResult message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.HelloResult.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a HelloResult message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.HelloResult & kpx.HelloResult.$Shape} HelloResult
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.HelloResult & kpx.HelloResult.$Shape;
    }

    namespace HelloResult {

        /** Properties of a HelloResult. */
        interface $Properties {

            /** HelloResult version */
            version?: (number|null);

            /** HelloResult profiles */
            profiles?: (string[]|null);

            /** HelloResult sealedNode */
            sealedNode?: (string|null);

            /** HelloResult foldsCase */
            foldsCase?: (boolean|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a HelloResult. */
        type $Shape = kpx.HelloResult.$Properties;
    }

    /**
     * Properties of a UserPrepared.
     * @deprecated Use kpx.UserPrepared.$Properties instead.
     */
    interface IUserPrepared extends kpx.UserPrepared.$Properties {
    }

    /** Represents a UserPrepared. */
    class UserPrepared {

        /**
         * Constructs a new UserPrepared.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.UserPrepared.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** UserPrepared osUser. */
        osUser: string;

        /** UserPrepared uid. */
        uid: number;

        /** UserPrepared created. */
        created: string[];

        /** UserPrepared passwordHash. */
        passwordHash: string;

        /**
         * Encodes the specified UserPrepared message. Does not implicitly {@link kpx.UserPrepared.verify|verify} messages.
         * @param message UserPrepared message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.UserPrepared.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes a UserPrepared message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.UserPrepared & kpx.UserPrepared.$Shape} UserPrepared
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.UserPrepared & kpx.UserPrepared.$Shape;
    }

    namespace UserPrepared {

        /** Properties of a UserPrepared. */
        interface $Properties {

            /** UserPrepared osUser */
            osUser?: (string|null);

            /** UserPrepared uid */
            uid?: (number|null);

            /** UserPrepared created */
            created?: (string[]|null);

            /** UserPrepared passwordHash */
            passwordHash?: (string|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of a UserPrepared. */
        type $Shape = kpx.UserPrepared.$Properties;
    }

    /** SpawnOutcome enum. */
    enum SpawnOutcome {

        /** SPAWN_OUTCOME_UNSPECIFIED value */
        SPAWN_OUTCOME_UNSPECIFIED = 0,

        /** SPAWN_OUTCOME_STARTED value */
        SPAWN_OUTCOME_STARTED = 1,

        /** SPAWN_OUTCOME_ALREADY_RUNNING value */
        SPAWN_OUTCOME_ALREADY_RUNNING = 2
    }

    /**
     * Properties of an ExecutorSpawned.
     * @deprecated Use kpx.ExecutorSpawned.$Properties instead.
     */
    interface IExecutorSpawned extends kpx.ExecutorSpawned.$Properties {
    }

    /** Represents an ExecutorSpawned. */
    class ExecutorSpawned {

        /**
         * Constructs a new ExecutorSpawned.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.ExecutorSpawned.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** ExecutorSpawned outcome. */
        outcome: kpx.SpawnOutcome;

        /** ExecutorSpawned executor. */
        executor?: (kpx.Executor.$Properties|null);

        /**
         * Encodes the specified ExecutorSpawned message. Does not implicitly {@link kpx.ExecutorSpawned.verify|verify} messages.
         * @param message ExecutorSpawned message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.ExecutorSpawned.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes an ExecutorSpawned message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.ExecutorSpawned & kpx.ExecutorSpawned.$Shape} ExecutorSpawned
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.ExecutorSpawned & kpx.ExecutorSpawned.$Shape;
    }

    namespace ExecutorSpawned {

        /** Properties of an ExecutorSpawned. */
        interface $Properties {

            /** ExecutorSpawned outcome */
            outcome?: (kpx.SpawnOutcome|null);

            /** ExecutorSpawned executor */
            executor?: (kpx.Executor.$Properties|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of an ExecutorSpawned. */
        type $Shape = kpx.ExecutorSpawned.$Properties;
    }

    /**
     * Properties of an ExecutorStopped.
     * @deprecated Use kpx.ExecutorStopped.$Properties instead.
     */
    interface IExecutorStopped extends kpx.ExecutorStopped.$Properties {
    }

    /** Represents an ExecutorStopped. */
    class ExecutorStopped {

        /**
         * Constructs a new ExecutorStopped.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.ExecutorStopped.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** ExecutorStopped osUser. */
        osUser: string;

        /** ExecutorStopped uid. */
        uid: number;

        /**
         * Encodes the specified ExecutorStopped message. Does not implicitly {@link kpx.ExecutorStopped.verify|verify} messages.
         * @param message ExecutorStopped message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.ExecutorStopped.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes an ExecutorStopped message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.ExecutorStopped & kpx.ExecutorStopped.$Shape} ExecutorStopped
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.ExecutorStopped & kpx.ExecutorStopped.$Shape;
    }

    namespace ExecutorStopped {

        /** Properties of an ExecutorStopped. */
        interface $Properties {

            /** ExecutorStopped osUser */
            osUser?: (string|null);

            /** ExecutorStopped uid */
            uid?: (number|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of an ExecutorStopped. */
        type $Shape = kpx.ExecutorStopped.$Properties;
    }

    /**
     * Properties of an ExecutorPage.
     * @deprecated Use kpx.ExecutorPage.$Properties instead.
     */
    interface IExecutorPage extends kpx.ExecutorPage.$Properties {
    }

    /** Represents an ExecutorPage. */
    class ExecutorPage {

        /**
         * Constructs a new ExecutorPage.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.ExecutorPage.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** ExecutorPage executors. */
        executors: kpx.Executor.$Properties[];

        /** ExecutorPage more. */
        more: boolean;

        /**
         * Encodes the specified ExecutorPage message. Does not implicitly {@link kpx.ExecutorPage.verify|verify} messages.
         * @param message ExecutorPage message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.ExecutorPage.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes an ExecutorPage message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.ExecutorPage & kpx.ExecutorPage.$Shape} ExecutorPage
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.ExecutorPage & kpx.ExecutorPage.$Shape;
    }

    namespace ExecutorPage {

        /** Properties of an ExecutorPage. */
        interface $Properties {

            /** ExecutorPage executors */
            executors?: (kpx.Executor.$Properties[]|null);

            /** ExecutorPage more */
            more?: (boolean|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of an ExecutorPage. */
        type $Shape = kpx.ExecutorPage.$Properties;
    }

    /** ExecutorState enum. */
    enum ExecutorState {

        /** EXECUTOR_STATE_UNSPECIFIED value */
        EXECUTOR_STATE_UNSPECIFIED = 0,

        /** EXECUTOR_STATE_RUNNING value */
        EXECUTOR_STATE_RUNNING = 1,

        /** EXECUTOR_STATE_STOPPING value */
        EXECUTOR_STATE_STOPPING = 2,

        /** EXECUTOR_STATE_EXITED value */
        EXECUTOR_STATE_EXITED = 3
    }

    /**
     * Properties of an Executor.
     * @deprecated Use kpx.Executor.$Properties instead.
     */
    interface IExecutor extends kpx.Executor.$Properties {
    }

    /** Represents an Executor. */
    class Executor {

        /**
         * Constructs a new Executor.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.Executor.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** Executor osUser. */
        osUser: string;

        /** Executor uid. */
        uid: number;

        /** Executor knimeUsers. */
        knimeUsers: string[];

        /** Executor state. */
        state: kpx.ExecutorState;

        /** Executor sinceMs. */
        sinceMs: number;

        /** Executor mainPid. */
        mainPid: number;

        /** Executor lastExit. */
        lastExit: string;

        /** Executor cpuMs. */
        cpuMs: number;

        /** Executor refusal. */
        refusal: string;

        /**
         * Encodes the specified Executor message. Does not implicitly {@link kpx.Executor.verify|verify} messages.
         * @param message Executor message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.Executor.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes an Executor message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.Executor & kpx.Executor.$Shape} Executor
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.Executor & kpx.Executor.$Shape;
    }

    namespace Executor {

        /** Properties of an Executor. */
        interface $Properties {

            /** Executor osUser */
            osUser?: (string|null);

            /** Executor uid */
            uid?: (number|null);

            /** Executor knimeUsers */
            knimeUsers?: (string[]|null);

            /** Executor state */
            state?: (kpx.ExecutorState|null);

            /** Executor sinceMs */
            sinceMs?: (number|null);

            /** Executor mainPid */
            mainPid?: (number|null);

            /** Executor lastExit */
            lastExit?: (string|null);

            /** Executor cpuMs */
            cpuMs?: (number|null);

            /** Executor refusal */
            refusal?: (string|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of an Executor. */
        type $Shape = kpx.Executor.$Properties;
    }

    /** ErrorCode enum. */
    enum ErrorCode {

        /** ERROR_CODE_UNSPECIFIED value */
        ERROR_CODE_UNSPECIFIED = 0,

        /** VERSION_MISMATCH value */
        VERSION_MISMATCH = 1,

        /** ACCOUNT_UNKNOWN value */
        ACCOUNT_UNKNOWN = 2,

        /** ACCOUNT_DENIED value */
        ACCOUNT_DENIED = 3,

        /** ACCOUNT_LOOKUP_FAILED value */
        ACCOUNT_LOOKUP_FAILED = 4,

        /** HOME_UNUSABLE value */
        HOME_UNUSABLE = 5,

        /** DIRECTORY_UNSAFE value */
        DIRECTORY_UNSAFE = 6,

        /** DIRECTORY_FAILED value */
        DIRECTORY_FAILED = 7,

        /** PROFILE_UNKNOWN value */
        PROFILE_UNKNOWN = 8,

        /** LAUNCH_FAILED value */
        LAUNCH_FAILED = 9,

        /** LIMIT_REACHED value */
        LIMIT_REACHED = 10,

        /** NOT_RUNNING value */
        NOT_RUNNING = 11,

        /** DEADLINE_EXCEEDED value */
        DEADLINE_EXCEEDED = 12,

        /** INTERNAL value */
        INTERNAL = 13,

        /** HOST_FAILED value */
        HOST_FAILED = 14,

        /** NOT_PREPARED value */
        NOT_PREPARED = 15,

        /** CREDENTIALS_REFUSED value */
        CREDENTIALS_REFUSED = 16
    }

    /**
     * Properties of an Error.
     * @deprecated Use kpx.Error.$Properties instead.
     */
    interface IError extends kpx.Error.$Properties {
    }

    /** Represents an Error. */
    class Error {

        /**
         * Constructs a new Error.
         * @param [properties] Properties to set
         */
        constructor(properties?: kpx.Error.$Properties);

        /** Unknown fields preserved while decoding when enabled */
        $unknowns?: Uint8Array[];

        /** Error code. */
        code: kpx.ErrorCode;

        /** Error message. */
        message: string;

        /**
         * Encodes the specified Error message. Does not implicitly {@link kpx.Error.verify|verify} messages.
         * @param message Error message or plain object to encode
         * @param [writer] Writer to encode to
         * @returns Writer
         */
        static encode(message: kpx.Error.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

        /**
         * Decodes an Error message from the specified reader or buffer.
         * @param reader Reader or buffer to decode from
         * @param [length] Message length if known beforehand
         * @returns {kpx.Error & kpx.Error.$Shape} Error
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): kpx.Error & kpx.Error.$Shape;
    }

    namespace Error {

        /** Properties of an Error. */
        interface $Properties {

            /** Error code */
            code?: (kpx.ErrorCode|null);

            /** Error message */
            message?: (string|null);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];
        }

        /** Shape of an Error. */
        type $Shape = kpx.Error.$Properties;
    }
}

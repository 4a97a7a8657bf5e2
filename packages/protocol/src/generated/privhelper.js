/*eslint-disable block-scoped-var, id-length, no-control-regex, no-magic-numbers, no-mixed-operators, no-prototype-builtins, no-redeclare, no-shadow, no-var, sort-vars, default-case, jsdoc/require-param*/
import $protobuf from "protobufjs/minimal.js";

// Common aliases
const $Reader = $protobuf.Reader, $Writer = $protobuf.Writer, $util = $protobuf.util;
const $Object = $util.global.Object, $undefined = $util.global.undefined, $Error = $util.global.Error, $RangeError = $util.global.RangeError;

// Exported root namespace
const $root = $protobuf.roots["default"] || ($protobuf.roots["default"] = {});

export const kpx = $root.kpx = (() => {

    /**
     * Namespace kpx.
     * @exports kpx
     * @namespace
     */
    const kpx = {};

    kpx.Request = (function() {

        /**
         * Properties of a Request.
         * @typedef {Object} kpx.Request.$Properties
         * @property {number|null} [id] Request id
         * @property {kpx.Hello.$Properties|null} [hello] Request hello
         * @property {kpx.PrepareUser.$Properties|null} [prepareUser] Request prepareUser
         * @property {kpx.SpawnExecutor.$Properties|null} [spawnExecutor] Request spawnExecutor
         * @property {kpx.StopExecutor.$Properties|null} [stopExecutor] Request stopExecutor
         * @property {kpx.ListExecutors.$Properties|null} [listExecutors] Request listExecutors
         * @property {"hello"|"prepareUser"|"spawnExecutor"|"stopExecutor"|"listExecutors"} [op] Request op
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a Request.
         * @memberof kpx
         * @interface IRequest
         * @augments kpx.Request.$Properties
         * @deprecated Use kpx.Request.$Properties instead.
         */

        /**
         * Narrowed shape of a Request.
         * @typedef {{
         *   id?: number|null;
         *   hello?: kpx.Hello.$Shape|null;
         *   prepareUser?: kpx.PrepareUser.$Shape|null;
         *   spawnExecutor?: kpx.SpawnExecutor.$Shape|null;
         *   stopExecutor?: kpx.StopExecutor.$Shape|null;
         *   listExecutors?: kpx.ListExecutors.$Shape|null;
         *   $unknowns?: Array.<Uint8Array>;
         * } & (
         *   ({ op?: undefined; hello?: null; prepareUser?: null; spawnExecutor?: null; stopExecutor?: null; listExecutors?: null }|{ op?: "hello"; hello: kpx.Hello.$Shape; prepareUser?: null; spawnExecutor?: null; stopExecutor?: null; listExecutors?: null }|{ op?: "prepareUser"; hello?: null; prepareUser: kpx.PrepareUser.$Shape; spawnExecutor?: null; stopExecutor?: null; listExecutors?: null }|{ op?: "spawnExecutor"; hello?: null; prepareUser?: null; spawnExecutor: kpx.SpawnExecutor.$Shape; stopExecutor?: null; listExecutors?: null }|{ op?: "stopExecutor"; hello?: null; prepareUser?: null; spawnExecutor?: null; stopExecutor: kpx.StopExecutor.$Shape; listExecutors?: null }|{ op?: "listExecutors"; hello?: null; prepareUser?: null; spawnExecutor?: null; stopExecutor?: null; listExecutors: kpx.ListExecutors.$Shape })
         * )} kpx.Request.$Shape
         */

        /**
         * Constructs a new Request.
         * @memberof kpx
         * @classdesc Represents a Request.
         * @constructor
         * @param {kpx.Request.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const Request = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * Request id.
         * @member {number} id
         * @memberof kpx.Request
         * @instance
         */
        Request.prototype.id = 0;

        /**
         * Request hello.
         * @member {kpx.Hello.$Properties|null|undefined} hello
         * @memberof kpx.Request
         * @instance
         */
        Request.prototype.hello = null;

        /**
         * Request prepareUser.
         * @member {kpx.PrepareUser.$Properties|null|undefined} prepareUser
         * @memberof kpx.Request
         * @instance
         */
        Request.prototype.prepareUser = null;

        /**
         * Request spawnExecutor.
         * @member {kpx.SpawnExecutor.$Properties|null|undefined} spawnExecutor
         * @memberof kpx.Request
         * @instance
         */
        Request.prototype.spawnExecutor = null;

        /**
         * Request stopExecutor.
         * @member {kpx.StopExecutor.$Properties|null|undefined} stopExecutor
         * @memberof kpx.Request
         * @instance
         */
        Request.prototype.stopExecutor = null;

        /**
         * Request listExecutors.
         * @member {kpx.ListExecutors.$Properties|null|undefined} listExecutors
         * @memberof kpx.Request
         * @instance
         */
        Request.prototype.listExecutors = null;

        // OneOf field names bound to virtual getters and setters
        let $oneOfFields;

        /**
         * Request op.
         * @member {"hello"|"prepareUser"|"spawnExecutor"|"stopExecutor"|"listExecutors"|undefined} op
         * @memberof kpx.Request
         * @instance
         */
        $Object.defineProperty(Request.prototype, "op", {
            get: $util.oneOfGetter($oneOfFields = ["hello", "prepareUser", "spawnExecutor", "stopExecutor", "listExecutors"]),
            set: $util.oneOfSetter($oneOfFields)
        });

        /**
         * Encodes the specified Request message. Does not implicitly {@link kpx.Request.verify|verify} messages.
         * @function encode
         * @memberof kpx.Request
         * @static
         * @param {kpx.Request.$Properties} message Request message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        Request.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.id != null && $Object.hasOwnProperty.call(message, "id") && message.id !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).uint32(message.id);
            if (message.hello != null && $Object.hasOwnProperty.call(message, "hello"))
                $root.kpx.Hello.encode(message.hello, writer.uint32(/* id 2, wireType 2 =*/18).fork(), _depth + 1).ldelim();
            if (message.prepareUser != null && $Object.hasOwnProperty.call(message, "prepareUser"))
                $root.kpx.PrepareUser.encode(message.prepareUser, writer.uint32(/* id 3, wireType 2 =*/26).fork(), _depth + 1).ldelim();
            if (message.spawnExecutor != null && $Object.hasOwnProperty.call(message, "spawnExecutor"))
                $root.kpx.SpawnExecutor.encode(message.spawnExecutor, writer.uint32(/* id 4, wireType 2 =*/34).fork(), _depth + 1).ldelim();
            if (message.stopExecutor != null && $Object.hasOwnProperty.call(message, "stopExecutor"))
                $root.kpx.StopExecutor.encode(message.stopExecutor, writer.uint32(/* id 5, wireType 2 =*/42).fork(), _depth + 1).ldelim();
            if (message.listExecutors != null && $Object.hasOwnProperty.call(message, "listExecutors"))
                $root.kpx.ListExecutors.encode(message.listExecutors, writer.uint32(/* id 6, wireType 2 =*/50).fork(), _depth + 1).ldelim();
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a Request message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.Request
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.Request & kpx.Request.$Shape} Request
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        Request.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.Request();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.id = value;
                        else
                            delete message.id;
                        continue;
                    }
                case 2: {
                        if (wireType !== 2)
                            break;
                        message.hello = $root.kpx.Hello.decode(reader, reader.size(), $undefined, _depth + 1, message.hello);
                        message.op = "hello";
                        continue;
                    }
                case 3: {
                        if (wireType !== 2)
                            break;
                        message.prepareUser = $root.kpx.PrepareUser.decode(reader, reader.size(), $undefined, _depth + 1, message.prepareUser);
                        message.op = "prepareUser";
                        continue;
                    }
                case 4: {
                        if (wireType !== 2)
                            break;
                        message.spawnExecutor = $root.kpx.SpawnExecutor.decode(reader, reader.size(), $undefined, _depth + 1, message.spawnExecutor);
                        message.op = "spawnExecutor";
                        continue;
                    }
                case 5: {
                        if (wireType !== 2)
                            break;
                        message.stopExecutor = $root.kpx.StopExecutor.decode(reader, reader.size(), $undefined, _depth + 1, message.stopExecutor);
                        message.op = "stopExecutor";
                        continue;
                    }
                case 6: {
                        if (wireType !== 2)
                            break;
                        message.listExecutors = $root.kpx.ListExecutors.decode(reader, reader.size(), $undefined, _depth + 1, message.listExecutors);
                        message.op = "listExecutors";
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return Request;
    })();

    kpx.Hello = (function() {

        /**
         * Properties of a Hello.
         * @typedef {Object} kpx.Hello.$Properties
         * @property {number|null} [version] Hello version
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a Hello.
         * @memberof kpx
         * @interface IHello
         * @augments kpx.Hello.$Properties
         * @deprecated Use kpx.Hello.$Properties instead.
         */

        /**
         * Shape of a Hello.
         * @typedef {kpx.Hello.$Properties} kpx.Hello.$Shape
         */

        /**
         * Constructs a new Hello.
         * @memberof kpx
         * @classdesc Represents a Hello.
         * @constructor
         * @param {kpx.Hello.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const Hello = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * Hello version.
         * @member {number} version
         * @memberof kpx.Hello
         * @instance
         */
        Hello.prototype.version = 0;

        /**
         * Encodes the specified Hello message. Does not implicitly {@link kpx.Hello.verify|verify} messages.
         * @function encode
         * @memberof kpx.Hello
         * @static
         * @param {kpx.Hello.$Properties} message Hello message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        Hello.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.version != null && $Object.hasOwnProperty.call(message, "version") && message.version !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).uint32(message.version);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a Hello message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.Hello
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.Hello & kpx.Hello.$Shape} Hello
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        Hello.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.Hello();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.version = value;
                        else
                            delete message.version;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return Hello;
    })();

    kpx.PrepareUser = (function() {

        /**
         * Properties of a PrepareUser.
         * @typedef {Object} kpx.PrepareUser.$Properties
         * @property {string|null} [knimeUser] PrepareUser knimeUser
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a PrepareUser.
         * @memberof kpx
         * @interface IPrepareUser
         * @augments kpx.PrepareUser.$Properties
         * @deprecated Use kpx.PrepareUser.$Properties instead.
         */

        /**
         * Shape of a PrepareUser.
         * @typedef {kpx.PrepareUser.$Properties} kpx.PrepareUser.$Shape
         */

        /**
         * Constructs a new PrepareUser.
         * @memberof kpx
         * @classdesc Represents a PrepareUser.
         * @constructor
         * @param {kpx.PrepareUser.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const PrepareUser = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * PrepareUser knimeUser.
         * @member {string} knimeUser
         * @memberof kpx.PrepareUser
         * @instance
         */
        PrepareUser.prototype.knimeUser = "";

        /**
         * Encodes the specified PrepareUser message. Does not implicitly {@link kpx.PrepareUser.verify|verify} messages.
         * @function encode
         * @memberof kpx.PrepareUser
         * @static
         * @param {kpx.PrepareUser.$Properties} message PrepareUser message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        PrepareUser.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.knimeUser != null && $Object.hasOwnProperty.call(message, "knimeUser") && message.knimeUser !== "")
                writer.uint32(/* id 1, wireType 2 =*/10).string(message.knimeUser);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a PrepareUser message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.PrepareUser
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.PrepareUser & kpx.PrepareUser.$Shape} PrepareUser
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        PrepareUser.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.PrepareUser();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.knimeUser = value;
                        else
                            delete message.knimeUser;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return PrepareUser;
    })();

    kpx.SpawnExecutor = (function() {

        /**
         * Properties of a SpawnExecutor.
         * @typedef {Object} kpx.SpawnExecutor.$Properties
         * @property {string|null} [knimeUser] SpawnExecutor knimeUser
         * @property {string|null} [profile] SpawnExecutor profile
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a SpawnExecutor.
         * @memberof kpx
         * @interface ISpawnExecutor
         * @augments kpx.SpawnExecutor.$Properties
         * @deprecated Use kpx.SpawnExecutor.$Properties instead.
         */

        /**
         * Shape of a SpawnExecutor.
         * @typedef {kpx.SpawnExecutor.$Properties} kpx.SpawnExecutor.$Shape
         */

        /**
         * Constructs a new SpawnExecutor.
         * @memberof kpx
         * @classdesc Represents a SpawnExecutor.
         * @constructor
         * @param {kpx.SpawnExecutor.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const SpawnExecutor = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * SpawnExecutor knimeUser.
         * @member {string} knimeUser
         * @memberof kpx.SpawnExecutor
         * @instance
         */
        SpawnExecutor.prototype.knimeUser = "";

        /**
         * SpawnExecutor profile.
         * @member {string} profile
         * @memberof kpx.SpawnExecutor
         * @instance
         */
        SpawnExecutor.prototype.profile = "";

        /**
         * Encodes the specified SpawnExecutor message. Does not implicitly {@link kpx.SpawnExecutor.verify|verify} messages.
         * @function encode
         * @memberof kpx.SpawnExecutor
         * @static
         * @param {kpx.SpawnExecutor.$Properties} message SpawnExecutor message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        SpawnExecutor.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.knimeUser != null && $Object.hasOwnProperty.call(message, "knimeUser") && message.knimeUser !== "")
                writer.uint32(/* id 1, wireType 2 =*/10).string(message.knimeUser);
            if (message.profile != null && $Object.hasOwnProperty.call(message, "profile") && message.profile !== "")
                writer.uint32(/* id 2, wireType 2 =*/18).string(message.profile);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a SpawnExecutor message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.SpawnExecutor
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.SpawnExecutor & kpx.SpawnExecutor.$Shape} SpawnExecutor
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        SpawnExecutor.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.SpawnExecutor();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.knimeUser = value;
                        else
                            delete message.knimeUser;
                        continue;
                    }
                case 2: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.profile = value;
                        else
                            delete message.profile;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return SpawnExecutor;
    })();

    /**
     * StopMode enum.
     * @name kpx.StopMode
     * @enum {number}
     * @property {number} STOP_MODE_UNSPECIFIED=0 STOP_MODE_UNSPECIFIED value
     * @property {number} STOP_MODE_GRACEFUL=1 STOP_MODE_GRACEFUL value
     * @property {number} STOP_MODE_KILL=2 STOP_MODE_KILL value
     */
    kpx.StopMode = (function() {
        const valuesById = $Object.create(null), values = $Object.create(valuesById);
        values[valuesById[0] = "STOP_MODE_UNSPECIFIED"] = 0;
        values[valuesById[1] = "STOP_MODE_GRACEFUL"] = 1;
        values[valuesById[2] = "STOP_MODE_KILL"] = 2;
        return values;
    })();

    kpx.StopExecutor = (function() {

        /**
         * Properties of a StopExecutor.
         * @typedef {Object} kpx.StopExecutor.$Properties
         * @property {string|null} [knimeUser] StopExecutor knimeUser
         * @property {kpx.StopMode|null} [mode] StopExecutor mode
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a StopExecutor.
         * @memberof kpx
         * @interface IStopExecutor
         * @augments kpx.StopExecutor.$Properties
         * @deprecated Use kpx.StopExecutor.$Properties instead.
         */

        /**
         * Shape of a StopExecutor.
         * @typedef {kpx.StopExecutor.$Properties} kpx.StopExecutor.$Shape
         */

        /**
         * Constructs a new StopExecutor.
         * @memberof kpx
         * @classdesc Represents a StopExecutor.
         * @constructor
         * @param {kpx.StopExecutor.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const StopExecutor = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * StopExecutor knimeUser.
         * @member {string} knimeUser
         * @memberof kpx.StopExecutor
         * @instance
         */
        StopExecutor.prototype.knimeUser = "";

        /**
         * StopExecutor mode.
         * @member {kpx.StopMode} mode
         * @memberof kpx.StopExecutor
         * @instance
         */
        StopExecutor.prototype.mode = 0;

        /**
         * Encodes the specified StopExecutor message. Does not implicitly {@link kpx.StopExecutor.verify|verify} messages.
         * @function encode
         * @memberof kpx.StopExecutor
         * @static
         * @param {kpx.StopExecutor.$Properties} message StopExecutor message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        StopExecutor.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.knimeUser != null && $Object.hasOwnProperty.call(message, "knimeUser") && message.knimeUser !== "")
                writer.uint32(/* id 1, wireType 2 =*/10).string(message.knimeUser);
            if (message.mode != null && $Object.hasOwnProperty.call(message, "mode") && message.mode !== 0)
                writer.uint32(/* id 2, wireType 0 =*/16).int32(message.mode);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a StopExecutor message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.StopExecutor
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.StopExecutor & kpx.StopExecutor.$Shape} StopExecutor
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        StopExecutor.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.StopExecutor();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.knimeUser = value;
                        else
                            delete message.knimeUser;
                        continue;
                    }
                case 2: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.int32())
                            message.mode = value;
                        else
                            delete message.mode;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return StopExecutor;
    })();

    kpx.ListExecutors = (function() {

        /**
         * Properties of a ListExecutors.
         * @typedef {Object} kpx.ListExecutors.$Properties
         * @property {number|null} [page] ListExecutors page
         * @property {boolean|null} [judge] ListExecutors judge
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a ListExecutors.
         * @memberof kpx
         * @interface IListExecutors
         * @augments kpx.ListExecutors.$Properties
         * @deprecated Use kpx.ListExecutors.$Properties instead.
         */

        /**
         * Shape of a ListExecutors.
         * @typedef {kpx.ListExecutors.$Properties} kpx.ListExecutors.$Shape
         */

        /**
         * Constructs a new ListExecutors.
         * @memberof kpx
         * @classdesc Represents a ListExecutors.
         * @constructor
         * @param {kpx.ListExecutors.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const ListExecutors = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * ListExecutors page.
         * @member {number} page
         * @memberof kpx.ListExecutors
         * @instance
         */
        ListExecutors.prototype.page = 0;

        /**
         * ListExecutors judge.
         * @member {boolean} judge
         * @memberof kpx.ListExecutors
         * @instance
         */
        ListExecutors.prototype.judge = false;

        /**
         * Encodes the specified ListExecutors message. Does not implicitly {@link kpx.ListExecutors.verify|verify} messages.
         * @function encode
         * @memberof kpx.ListExecutors
         * @static
         * @param {kpx.ListExecutors.$Properties} message ListExecutors message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        ListExecutors.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.page != null && $Object.hasOwnProperty.call(message, "page") && message.page !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).uint32(message.page);
            if (message.judge != null && $Object.hasOwnProperty.call(message, "judge") && message.judge !== false)
                writer.uint32(/* id 2, wireType 0 =*/16).bool(message.judge);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a ListExecutors message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.ListExecutors
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.ListExecutors & kpx.ListExecutors.$Shape} ListExecutors
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        ListExecutors.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.ListExecutors();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.page = value;
                        else
                            delete message.page;
                        continue;
                    }
                case 2: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.bool())
                            message.judge = value;
                        else
                            delete message.judge;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return ListExecutors;
    })();

    kpx.Response = (function() {

        /**
         * Properties of a Response.
         * @typedef {Object} kpx.Response.$Properties
         * @property {number|null} [id] Response id
         * @property {kpx.HelloResult.$Properties|null} [hello] Response hello
         * @property {kpx.UserPrepared.$Properties|null} [userPrepared] Response userPrepared
         * @property {kpx.ExecutorSpawned.$Properties|null} [executorSpawned] Response executorSpawned
         * @property {kpx.ExecutorStopped.$Properties|null} [executorStopped] Response executorStopped
         * @property {kpx.ExecutorPage.$Properties|null} [executorPage] Response executorPage
         * @property {kpx.Error.$Properties|null} [error] Response error
         * @property {"hello"|"userPrepared"|"executorSpawned"|"executorStopped"|"executorPage"|"error"} [result] Response result
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a Response.
         * @memberof kpx
         * @interface IResponse
         * @augments kpx.Response.$Properties
         * @deprecated Use kpx.Response.$Properties instead.
         */

        /**
         * Narrowed shape of a Response.
         * @typedef {{
         *   id?: number|null;
         *   hello?: kpx.HelloResult.$Shape|null;
         *   userPrepared?: kpx.UserPrepared.$Shape|null;
         *   executorSpawned?: kpx.ExecutorSpawned.$Shape|null;
         *   executorStopped?: kpx.ExecutorStopped.$Shape|null;
         *   executorPage?: kpx.ExecutorPage.$Shape|null;
         *   error?: kpx.Error.$Shape|null;
         *   $unknowns?: Array.<Uint8Array>;
         * } & (
         *   ({ result?: undefined; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "hello"; hello: kpx.HelloResult.$Shape; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "userPrepared"; hello?: null; userPrepared: kpx.UserPrepared.$Shape; executorSpawned?: null; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "executorSpawned"; hello?: null; userPrepared?: null; executorSpawned: kpx.ExecutorSpawned.$Shape; executorStopped?: null; executorPage?: null; error?: null }|{ result?: "executorStopped"; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped: kpx.ExecutorStopped.$Shape; executorPage?: null; error?: null }|{ result?: "executorPage"; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage: kpx.ExecutorPage.$Shape; error?: null }|{ result?: "error"; hello?: null; userPrepared?: null; executorSpawned?: null; executorStopped?: null; executorPage?: null; error: kpx.Error.$Shape })
         * )} kpx.Response.$Shape
         */

        /**
         * Constructs a new Response.
         * @memberof kpx
         * @classdesc Represents a Response.
         * @constructor
         * @param {kpx.Response.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const Response = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * Response id.
         * @member {number} id
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.id = 0;

        /**
         * Response hello.
         * @member {kpx.HelloResult.$Properties|null|undefined} hello
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.hello = null;

        /**
         * Response userPrepared.
         * @member {kpx.UserPrepared.$Properties|null|undefined} userPrepared
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.userPrepared = null;

        /**
         * Response executorSpawned.
         * @member {kpx.ExecutorSpawned.$Properties|null|undefined} executorSpawned
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.executorSpawned = null;

        /**
         * Response executorStopped.
         * @member {kpx.ExecutorStopped.$Properties|null|undefined} executorStopped
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.executorStopped = null;

        /**
         * Response executorPage.
         * @member {kpx.ExecutorPage.$Properties|null|undefined} executorPage
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.executorPage = null;

        /**
         * Response error.
         * @member {kpx.Error.$Properties|null|undefined} error
         * @memberof kpx.Response
         * @instance
         */
        Response.prototype.error = null;

        // OneOf field names bound to virtual getters and setters
        let $oneOfFields;

        /**
         * Response result.
         * @member {"hello"|"userPrepared"|"executorSpawned"|"executorStopped"|"executorPage"|"error"|undefined} result
         * @memberof kpx.Response
         * @instance
         */
        $Object.defineProperty(Response.prototype, "result", {
            get: $util.oneOfGetter($oneOfFields = ["hello", "userPrepared", "executorSpawned", "executorStopped", "executorPage", "error"]),
            set: $util.oneOfSetter($oneOfFields)
        });

        /**
         * Encodes the specified Response message. Does not implicitly {@link kpx.Response.verify|verify} messages.
         * @function encode
         * @memberof kpx.Response
         * @static
         * @param {kpx.Response.$Properties} message Response message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        Response.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.id != null && $Object.hasOwnProperty.call(message, "id") && message.id !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).uint32(message.id);
            if (message.hello != null && $Object.hasOwnProperty.call(message, "hello"))
                $root.kpx.HelloResult.encode(message.hello, writer.uint32(/* id 2, wireType 2 =*/18).fork(), _depth + 1).ldelim();
            if (message.userPrepared != null && $Object.hasOwnProperty.call(message, "userPrepared"))
                $root.kpx.UserPrepared.encode(message.userPrepared, writer.uint32(/* id 3, wireType 2 =*/26).fork(), _depth + 1).ldelim();
            if (message.executorSpawned != null && $Object.hasOwnProperty.call(message, "executorSpawned"))
                $root.kpx.ExecutorSpawned.encode(message.executorSpawned, writer.uint32(/* id 4, wireType 2 =*/34).fork(), _depth + 1).ldelim();
            if (message.executorStopped != null && $Object.hasOwnProperty.call(message, "executorStopped"))
                $root.kpx.ExecutorStopped.encode(message.executorStopped, writer.uint32(/* id 5, wireType 2 =*/42).fork(), _depth + 1).ldelim();
            if (message.executorPage != null && $Object.hasOwnProperty.call(message, "executorPage"))
                $root.kpx.ExecutorPage.encode(message.executorPage, writer.uint32(/* id 6, wireType 2 =*/50).fork(), _depth + 1).ldelim();
            if (message.error != null && $Object.hasOwnProperty.call(message, "error"))
                $root.kpx.Error.encode(message.error, writer.uint32(/* id 7, wireType 2 =*/58).fork(), _depth + 1).ldelim();
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a Response message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.Response
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.Response & kpx.Response.$Shape} Response
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        Response.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.Response();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.id = value;
                        else
                            delete message.id;
                        continue;
                    }
                case 2: {
                        if (wireType !== 2)
                            break;
                        message.hello = $root.kpx.HelloResult.decode(reader, reader.size(), $undefined, _depth + 1, message.hello);
                        message.result = "hello";
                        continue;
                    }
                case 3: {
                        if (wireType !== 2)
                            break;
                        message.userPrepared = $root.kpx.UserPrepared.decode(reader, reader.size(), $undefined, _depth + 1, message.userPrepared);
                        message.result = "userPrepared";
                        continue;
                    }
                case 4: {
                        if (wireType !== 2)
                            break;
                        message.executorSpawned = $root.kpx.ExecutorSpawned.decode(reader, reader.size(), $undefined, _depth + 1, message.executorSpawned);
                        message.result = "executorSpawned";
                        continue;
                    }
                case 5: {
                        if (wireType !== 2)
                            break;
                        message.executorStopped = $root.kpx.ExecutorStopped.decode(reader, reader.size(), $undefined, _depth + 1, message.executorStopped);
                        message.result = "executorStopped";
                        continue;
                    }
                case 6: {
                        if (wireType !== 2)
                            break;
                        message.executorPage = $root.kpx.ExecutorPage.decode(reader, reader.size(), $undefined, _depth + 1, message.executorPage);
                        message.result = "executorPage";
                        continue;
                    }
                case 7: {
                        if (wireType !== 2)
                            break;
                        message.error = $root.kpx.Error.decode(reader, reader.size(), $undefined, _depth + 1, message.error);
                        message.result = "error";
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return Response;
    })();

    kpx.HelloResult = (function() {

        /**
         * Properties of a HelloResult.
         * @typedef {Object} kpx.HelloResult.$Properties
         * @property {number|null} [version] HelloResult version
         * @property {Array.<string>|null} [profiles] HelloResult profiles
         * @property {string|null} [sealedNode] HelloResult sealedNode
         * @property {boolean|null} [foldsCase] HelloResult foldsCase
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a HelloResult.
         * @memberof kpx
         * @interface IHelloResult
         * @augments kpx.HelloResult.$Properties
         * @deprecated Use kpx.HelloResult.$Properties instead.
         */

        /**
         * Shape of a HelloResult.
         * @typedef {kpx.HelloResult.$Properties} kpx.HelloResult.$Shape
         */

        /**
         * Constructs a new HelloResult.
         * @memberof kpx
         * @classdesc Represents a HelloResult.
         * @constructor
         * @param {kpx.HelloResult.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const HelloResult = function (properties) {
            this.profiles = [];
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * HelloResult version.
         * @member {number} version
         * @memberof kpx.HelloResult
         * @instance
         */
        HelloResult.prototype.version = 0;

        /**
         * HelloResult profiles.
         * @member {Array.<string>} profiles
         * @memberof kpx.HelloResult
         * @instance
         */
        HelloResult.prototype.profiles = $util.emptyArray;

        /**
         * HelloResult sealedNode.
         * @member {string} sealedNode
         * @memberof kpx.HelloResult
         * @instance
         */
        HelloResult.prototype.sealedNode = "";

        /**
         * HelloResult foldsCase.
         * @member {boolean} foldsCase
         * @memberof kpx.HelloResult
         * @instance
         */
        HelloResult.prototype.foldsCase = false;

        /**
         * Encodes the specified HelloResult message. Does not implicitly {@link kpx.HelloResult.verify|verify} messages.
         * @function encode
         * @memberof kpx.HelloResult
         * @static
         * @param {kpx.HelloResult.$Properties} message HelloResult message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        HelloResult.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.version != null && $Object.hasOwnProperty.call(message, "version") && message.version !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).uint32(message.version);
            if (message.profiles != null && message.profiles.length)
                for (let i = 0; i < message.profiles.length; ++i)
                    writer.uint32(/* id 2, wireType 2 =*/18).string(message.profiles[i]);
            if (message.sealedNode != null && $Object.hasOwnProperty.call(message, "sealedNode") && message.sealedNode !== "")
                writer.uint32(/* id 3, wireType 2 =*/26).string(message.sealedNode);
            if (message.foldsCase != null && $Object.hasOwnProperty.call(message, "foldsCase") && message.foldsCase !== false)
                writer.uint32(/* id 4, wireType 0 =*/32).bool(message.foldsCase);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a HelloResult message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.HelloResult
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.HelloResult & kpx.HelloResult.$Shape} HelloResult
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        HelloResult.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.HelloResult();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.version = value;
                        else
                            delete message.version;
                        continue;
                    }
                case 2: {
                        if (wireType !== 2)
                            break;
                        if (!(message.profiles && message.profiles.length))
                            message.profiles = [];
                        message.profiles.push(reader.stringVerify());
                        continue;
                    }
                case 3: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.sealedNode = value;
                        else
                            delete message.sealedNode;
                        continue;
                    }
                case 4: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.bool())
                            message.foldsCase = value;
                        else
                            delete message.foldsCase;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return HelloResult;
    })();

    kpx.UserPrepared = (function() {

        /**
         * Properties of a UserPrepared.
         * @typedef {Object} kpx.UserPrepared.$Properties
         * @property {string|null} [osUser] UserPrepared osUser
         * @property {number|null} [uid] UserPrepared uid
         * @property {Array.<string>|null} [created] UserPrepared created
         * @property {string|null} [passwordHash] UserPrepared passwordHash
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of a UserPrepared.
         * @memberof kpx
         * @interface IUserPrepared
         * @augments kpx.UserPrepared.$Properties
         * @deprecated Use kpx.UserPrepared.$Properties instead.
         */

        /**
         * Shape of a UserPrepared.
         * @typedef {kpx.UserPrepared.$Properties} kpx.UserPrepared.$Shape
         */

        /**
         * Constructs a new UserPrepared.
         * @memberof kpx
         * @classdesc Represents a UserPrepared.
         * @constructor
         * @param {kpx.UserPrepared.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const UserPrepared = function (properties) {
            this.created = [];
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * UserPrepared osUser.
         * @member {string} osUser
         * @memberof kpx.UserPrepared
         * @instance
         */
        UserPrepared.prototype.osUser = "";

        /**
         * UserPrepared uid.
         * @member {number} uid
         * @memberof kpx.UserPrepared
         * @instance
         */
        UserPrepared.prototype.uid = 0;

        /**
         * UserPrepared created.
         * @member {Array.<string>} created
         * @memberof kpx.UserPrepared
         * @instance
         */
        UserPrepared.prototype.created = $util.emptyArray;

        /**
         * UserPrepared passwordHash.
         * @member {string} passwordHash
         * @memberof kpx.UserPrepared
         * @instance
         */
        UserPrepared.prototype.passwordHash = "";

        /**
         * Encodes the specified UserPrepared message. Does not implicitly {@link kpx.UserPrepared.verify|verify} messages.
         * @function encode
         * @memberof kpx.UserPrepared
         * @static
         * @param {kpx.UserPrepared.$Properties} message UserPrepared message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        UserPrepared.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.osUser != null && $Object.hasOwnProperty.call(message, "osUser") && message.osUser !== "")
                writer.uint32(/* id 1, wireType 2 =*/10).string(message.osUser);
            if (message.uid != null && $Object.hasOwnProperty.call(message, "uid") && message.uid !== 0)
                writer.uint32(/* id 2, wireType 0 =*/16).uint32(message.uid);
            if (message.created != null && message.created.length)
                for (let i = 0; i < message.created.length; ++i)
                    writer.uint32(/* id 3, wireType 2 =*/26).string(message.created[i]);
            if (message.passwordHash != null && $Object.hasOwnProperty.call(message, "passwordHash") && message.passwordHash !== "")
                writer.uint32(/* id 4, wireType 2 =*/34).string(message.passwordHash);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes a UserPrepared message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.UserPrepared
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.UserPrepared & kpx.UserPrepared.$Shape} UserPrepared
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        UserPrepared.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.UserPrepared();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.osUser = value;
                        else
                            delete message.osUser;
                        continue;
                    }
                case 2: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.uid = value;
                        else
                            delete message.uid;
                        continue;
                    }
                case 3: {
                        if (wireType !== 2)
                            break;
                        if (!(message.created && message.created.length))
                            message.created = [];
                        message.created.push(reader.stringVerify());
                        continue;
                    }
                case 4: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.passwordHash = value;
                        else
                            delete message.passwordHash;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return UserPrepared;
    })();

    /**
     * SpawnOutcome enum.
     * @name kpx.SpawnOutcome
     * @enum {number}
     * @property {number} SPAWN_OUTCOME_UNSPECIFIED=0 SPAWN_OUTCOME_UNSPECIFIED value
     * @property {number} SPAWN_OUTCOME_STARTED=1 SPAWN_OUTCOME_STARTED value
     * @property {number} SPAWN_OUTCOME_ALREADY_RUNNING=2 SPAWN_OUTCOME_ALREADY_RUNNING value
     */
    kpx.SpawnOutcome = (function() {
        const valuesById = $Object.create(null), values = $Object.create(valuesById);
        values[valuesById[0] = "SPAWN_OUTCOME_UNSPECIFIED"] = 0;
        values[valuesById[1] = "SPAWN_OUTCOME_STARTED"] = 1;
        values[valuesById[2] = "SPAWN_OUTCOME_ALREADY_RUNNING"] = 2;
        return values;
    })();

    kpx.ExecutorSpawned = (function() {

        /**
         * Properties of an ExecutorSpawned.
         * @typedef {Object} kpx.ExecutorSpawned.$Properties
         * @property {kpx.SpawnOutcome|null} [outcome] ExecutorSpawned outcome
         * @property {kpx.Executor.$Properties|null} [executor] ExecutorSpawned executor
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of an ExecutorSpawned.
         * @memberof kpx
         * @interface IExecutorSpawned
         * @augments kpx.ExecutorSpawned.$Properties
         * @deprecated Use kpx.ExecutorSpawned.$Properties instead.
         */

        /**
         * Shape of an ExecutorSpawned.
         * @typedef {kpx.ExecutorSpawned.$Properties} kpx.ExecutorSpawned.$Shape
         */

        /**
         * Constructs a new ExecutorSpawned.
         * @memberof kpx
         * @classdesc Represents an ExecutorSpawned.
         * @constructor
         * @param {kpx.ExecutorSpawned.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const ExecutorSpawned = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * ExecutorSpawned outcome.
         * @member {kpx.SpawnOutcome} outcome
         * @memberof kpx.ExecutorSpawned
         * @instance
         */
        ExecutorSpawned.prototype.outcome = 0;

        /**
         * ExecutorSpawned executor.
         * @member {kpx.Executor.$Properties|null|undefined} executor
         * @memberof kpx.ExecutorSpawned
         * @instance
         */
        ExecutorSpawned.prototype.executor = null;

        /**
         * Encodes the specified ExecutorSpawned message. Does not implicitly {@link kpx.ExecutorSpawned.verify|verify} messages.
         * @function encode
         * @memberof kpx.ExecutorSpawned
         * @static
         * @param {kpx.ExecutorSpawned.$Properties} message ExecutorSpawned message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        ExecutorSpawned.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.outcome != null && $Object.hasOwnProperty.call(message, "outcome") && message.outcome !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).int32(message.outcome);
            if (message.executor != null && $Object.hasOwnProperty.call(message, "executor"))
                $root.kpx.Executor.encode(message.executor, writer.uint32(/* id 2, wireType 2 =*/18).fork(), _depth + 1).ldelim();
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes an ExecutorSpawned message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.ExecutorSpawned
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.ExecutorSpawned & kpx.ExecutorSpawned.$Shape} ExecutorSpawned
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        ExecutorSpawned.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.ExecutorSpawned();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.int32())
                            message.outcome = value;
                        else
                            delete message.outcome;
                        continue;
                    }
                case 2: {
                        if (wireType !== 2)
                            break;
                        message.executor = $root.kpx.Executor.decode(reader, reader.size(), $undefined, _depth + 1, message.executor);
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return ExecutorSpawned;
    })();

    kpx.ExecutorStopped = (function() {

        /**
         * Properties of an ExecutorStopped.
         * @typedef {Object} kpx.ExecutorStopped.$Properties
         * @property {string|null} [osUser] ExecutorStopped osUser
         * @property {number|null} [uid] ExecutorStopped uid
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of an ExecutorStopped.
         * @memberof kpx
         * @interface IExecutorStopped
         * @augments kpx.ExecutorStopped.$Properties
         * @deprecated Use kpx.ExecutorStopped.$Properties instead.
         */

        /**
         * Shape of an ExecutorStopped.
         * @typedef {kpx.ExecutorStopped.$Properties} kpx.ExecutorStopped.$Shape
         */

        /**
         * Constructs a new ExecutorStopped.
         * @memberof kpx
         * @classdesc Represents an ExecutorStopped.
         * @constructor
         * @param {kpx.ExecutorStopped.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const ExecutorStopped = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * ExecutorStopped osUser.
         * @member {string} osUser
         * @memberof kpx.ExecutorStopped
         * @instance
         */
        ExecutorStopped.prototype.osUser = "";

        /**
         * ExecutorStopped uid.
         * @member {number} uid
         * @memberof kpx.ExecutorStopped
         * @instance
         */
        ExecutorStopped.prototype.uid = 0;

        /**
         * Encodes the specified ExecutorStopped message. Does not implicitly {@link kpx.ExecutorStopped.verify|verify} messages.
         * @function encode
         * @memberof kpx.ExecutorStopped
         * @static
         * @param {kpx.ExecutorStopped.$Properties} message ExecutorStopped message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        ExecutorStopped.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.osUser != null && $Object.hasOwnProperty.call(message, "osUser") && message.osUser !== "")
                writer.uint32(/* id 1, wireType 2 =*/10).string(message.osUser);
            if (message.uid != null && $Object.hasOwnProperty.call(message, "uid") && message.uid !== 0)
                writer.uint32(/* id 2, wireType 0 =*/16).uint32(message.uid);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes an ExecutorStopped message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.ExecutorStopped
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.ExecutorStopped & kpx.ExecutorStopped.$Shape} ExecutorStopped
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        ExecutorStopped.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.ExecutorStopped();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.osUser = value;
                        else
                            delete message.osUser;
                        continue;
                    }
                case 2: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.uid = value;
                        else
                            delete message.uid;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return ExecutorStopped;
    })();

    kpx.ExecutorPage = (function() {

        /**
         * Properties of an ExecutorPage.
         * @typedef {Object} kpx.ExecutorPage.$Properties
         * @property {Array.<kpx.Executor.$Properties>|null} [executors] ExecutorPage executors
         * @property {boolean|null} [more] ExecutorPage more
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of an ExecutorPage.
         * @memberof kpx
         * @interface IExecutorPage
         * @augments kpx.ExecutorPage.$Properties
         * @deprecated Use kpx.ExecutorPage.$Properties instead.
         */

        /**
         * Shape of an ExecutorPage.
         * @typedef {kpx.ExecutorPage.$Properties} kpx.ExecutorPage.$Shape
         */

        /**
         * Constructs a new ExecutorPage.
         * @memberof kpx
         * @classdesc Represents an ExecutorPage.
         * @constructor
         * @param {kpx.ExecutorPage.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const ExecutorPage = function (properties) {
            this.executors = [];
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * ExecutorPage executors.
         * @member {Array.<kpx.Executor.$Properties>} executors
         * @memberof kpx.ExecutorPage
         * @instance
         */
        ExecutorPage.prototype.executors = $util.emptyArray;

        /**
         * ExecutorPage more.
         * @member {boolean} more
         * @memberof kpx.ExecutorPage
         * @instance
         */
        ExecutorPage.prototype.more = false;

        /**
         * Encodes the specified ExecutorPage message. Does not implicitly {@link kpx.ExecutorPage.verify|verify} messages.
         * @function encode
         * @memberof kpx.ExecutorPage
         * @static
         * @param {kpx.ExecutorPage.$Properties} message ExecutorPage message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        ExecutorPage.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.executors != null && message.executors.length)
                for (let i = 0; i < message.executors.length; ++i)
                    $root.kpx.Executor.encode(message.executors[i], writer.uint32(/* id 1, wireType 2 =*/10).fork(), _depth + 1).ldelim();
            if (message.more != null && $Object.hasOwnProperty.call(message, "more") && message.more !== false)
                writer.uint32(/* id 2, wireType 0 =*/16).bool(message.more);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes an ExecutorPage message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.ExecutorPage
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.ExecutorPage & kpx.ExecutorPage.$Shape} ExecutorPage
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        ExecutorPage.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.ExecutorPage();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if (!(message.executors && message.executors.length))
                            message.executors = [];
                        message.executors.push($root.kpx.Executor.decode(reader, reader.size(), $undefined, _depth + 1));
                        continue;
                    }
                case 2: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.bool())
                            message.more = value;
                        else
                            delete message.more;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return ExecutorPage;
    })();

    /**
     * ExecutorState enum.
     * @name kpx.ExecutorState
     * @enum {number}
     * @property {number} EXECUTOR_STATE_UNSPECIFIED=0 EXECUTOR_STATE_UNSPECIFIED value
     * @property {number} EXECUTOR_STATE_RUNNING=1 EXECUTOR_STATE_RUNNING value
     * @property {number} EXECUTOR_STATE_STOPPING=2 EXECUTOR_STATE_STOPPING value
     * @property {number} EXECUTOR_STATE_EXITED=3 EXECUTOR_STATE_EXITED value
     */
    kpx.ExecutorState = (function() {
        const valuesById = $Object.create(null), values = $Object.create(valuesById);
        values[valuesById[0] = "EXECUTOR_STATE_UNSPECIFIED"] = 0;
        values[valuesById[1] = "EXECUTOR_STATE_RUNNING"] = 1;
        values[valuesById[2] = "EXECUTOR_STATE_STOPPING"] = 2;
        values[valuesById[3] = "EXECUTOR_STATE_EXITED"] = 3;
        return values;
    })();

    kpx.Executor = (function() {

        /**
         * Properties of an Executor.
         * @typedef {Object} kpx.Executor.$Properties
         * @property {string|null} [osUser] Executor osUser
         * @property {number|null} [uid] Executor uid
         * @property {Array.<string>|null} [knimeUsers] Executor knimeUsers
         * @property {kpx.ExecutorState|null} [state] Executor state
         * @property {number|null} [sinceMs] Executor sinceMs
         * @property {number|null} [mainPid] Executor mainPid
         * @property {string|null} [lastExit] Executor lastExit
         * @property {number|null} [cpuMs] Executor cpuMs
         * @property {string|null} [refusal] Executor refusal
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of an Executor.
         * @memberof kpx
         * @interface IExecutor
         * @augments kpx.Executor.$Properties
         * @deprecated Use kpx.Executor.$Properties instead.
         */

        /**
         * Shape of an Executor.
         * @typedef {kpx.Executor.$Properties} kpx.Executor.$Shape
         */

        /**
         * Constructs a new Executor.
         * @memberof kpx
         * @classdesc Represents an Executor.
         * @constructor
         * @param {kpx.Executor.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const Executor = function (properties) {
            this.knimeUsers = [];
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * Executor osUser.
         * @member {string} osUser
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.osUser = "";

        /**
         * Executor uid.
         * @member {number} uid
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.uid = 0;

        /**
         * Executor knimeUsers.
         * @member {Array.<string>} knimeUsers
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.knimeUsers = $util.emptyArray;

        /**
         * Executor state.
         * @member {kpx.ExecutorState} state
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.state = 0;

        /**
         * Executor sinceMs.
         * @member {number} sinceMs
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.sinceMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

        /**
         * Executor mainPid.
         * @member {number} mainPid
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.mainPid = 0;

        /**
         * Executor lastExit.
         * @member {string} lastExit
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.lastExit = "";

        /**
         * Executor cpuMs.
         * @member {number} cpuMs
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.cpuMs = $util.Long ? $util.Long.fromBits(0,0,true) : 0;

        /**
         * Executor refusal.
         * @member {string} refusal
         * @memberof kpx.Executor
         * @instance
         */
        Executor.prototype.refusal = "";

        /**
         * Encodes the specified Executor message. Does not implicitly {@link kpx.Executor.verify|verify} messages.
         * @function encode
         * @memberof kpx.Executor
         * @static
         * @param {kpx.Executor.$Properties} message Executor message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        Executor.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.osUser != null && $Object.hasOwnProperty.call(message, "osUser") && message.osUser !== "")
                writer.uint32(/* id 1, wireType 2 =*/10).string(message.osUser);
            if (message.uid != null && $Object.hasOwnProperty.call(message, "uid") && message.uid !== 0)
                writer.uint32(/* id 2, wireType 0 =*/16).uint32(message.uid);
            if (message.knimeUsers != null && message.knimeUsers.length)
                for (let i = 0; i < message.knimeUsers.length; ++i)
                    writer.uint32(/* id 3, wireType 2 =*/26).string(message.knimeUsers[i]);
            if (message.state != null && $Object.hasOwnProperty.call(message, "state") && message.state !== 0)
                writer.uint32(/* id 4, wireType 0 =*/32).int32(message.state);
            if (message.sinceMs != null && $Object.hasOwnProperty.call(message, "sinceMs") && (typeof message.sinceMs === "object" ? message.sinceMs.low || message.sinceMs.high : message.sinceMs !== 0))
                writer.uint32(/* id 5, wireType 0 =*/40).uint64(message.sinceMs);
            if (message.mainPid != null && $Object.hasOwnProperty.call(message, "mainPid") && message.mainPid !== 0)
                writer.uint32(/* id 6, wireType 0 =*/48).uint32(message.mainPid);
            if (message.lastExit != null && $Object.hasOwnProperty.call(message, "lastExit") && message.lastExit !== "")
                writer.uint32(/* id 7, wireType 2 =*/58).string(message.lastExit);
            if (message.cpuMs != null && $Object.hasOwnProperty.call(message, "cpuMs") && (typeof message.cpuMs === "object" ? message.cpuMs.low || message.cpuMs.high : message.cpuMs !== 0))
                writer.uint32(/* id 8, wireType 0 =*/64).uint64(message.cpuMs);
            if (message.refusal != null && $Object.hasOwnProperty.call(message, "refusal") && message.refusal !== "")
                writer.uint32(/* id 9, wireType 2 =*/74).string(message.refusal);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes an Executor message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.Executor
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.Executor & kpx.Executor.$Shape} Executor
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        Executor.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.Executor();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.osUser = value;
                        else
                            delete message.osUser;
                        continue;
                    }
                case 2: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.uid = value;
                        else
                            delete message.uid;
                        continue;
                    }
                case 3: {
                        if (wireType !== 2)
                            break;
                        if (!(message.knimeUsers && message.knimeUsers.length))
                            message.knimeUsers = [];
                        message.knimeUsers.push(reader.stringVerify());
                        continue;
                    }
                case 4: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.int32())
                            message.state = value;
                        else
                            delete message.state;
                        continue;
                    }
                case 5: {
                        if (wireType !== 0)
                            break;
                        if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                            message.sinceMs = value;
                        else
                            delete message.sinceMs;
                        continue;
                    }
                case 6: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.uint32())
                            message.mainPid = value;
                        else
                            delete message.mainPid;
                        continue;
                    }
                case 7: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.lastExit = value;
                        else
                            delete message.lastExit;
                        continue;
                    }
                case 8: {
                        if (wireType !== 0)
                            break;
                        if (typeof (value = reader.uint64()) === "object" ? value.low || value.high : value !== 0)
                            message.cpuMs = value;
                        else
                            delete message.cpuMs;
                        continue;
                    }
                case 9: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.refusal = value;
                        else
                            delete message.refusal;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return Executor;
    })();

    /**
     * ErrorCode enum.
     * @name kpx.ErrorCode
     * @enum {number}
     * @property {number} ERROR_CODE_UNSPECIFIED=0 ERROR_CODE_UNSPECIFIED value
     * @property {number} VERSION_MISMATCH=1 VERSION_MISMATCH value
     * @property {number} ACCOUNT_UNKNOWN=2 ACCOUNT_UNKNOWN value
     * @property {number} ACCOUNT_DENIED=3 ACCOUNT_DENIED value
     * @property {number} ACCOUNT_LOOKUP_FAILED=4 ACCOUNT_LOOKUP_FAILED value
     * @property {number} HOME_UNUSABLE=5 HOME_UNUSABLE value
     * @property {number} DIRECTORY_UNSAFE=6 DIRECTORY_UNSAFE value
     * @property {number} DIRECTORY_FAILED=7 DIRECTORY_FAILED value
     * @property {number} PROFILE_UNKNOWN=8 PROFILE_UNKNOWN value
     * @property {number} LAUNCH_FAILED=9 LAUNCH_FAILED value
     * @property {number} LIMIT_REACHED=10 LIMIT_REACHED value
     * @property {number} NOT_RUNNING=11 NOT_RUNNING value
     * @property {number} DEADLINE_EXCEEDED=12 DEADLINE_EXCEEDED value
     * @property {number} INTERNAL=13 INTERNAL value
     * @property {number} HOST_FAILED=14 HOST_FAILED value
     * @property {number} NOT_PREPARED=15 NOT_PREPARED value
     * @property {number} CREDENTIALS_REFUSED=16 CREDENTIALS_REFUSED value
     */
    kpx.ErrorCode = (function() {
        const valuesById = $Object.create(null), values = $Object.create(valuesById);
        values[valuesById[0] = "ERROR_CODE_UNSPECIFIED"] = 0;
        values[valuesById[1] = "VERSION_MISMATCH"] = 1;
        values[valuesById[2] = "ACCOUNT_UNKNOWN"] = 2;
        values[valuesById[3] = "ACCOUNT_DENIED"] = 3;
        values[valuesById[4] = "ACCOUNT_LOOKUP_FAILED"] = 4;
        values[valuesById[5] = "HOME_UNUSABLE"] = 5;
        values[valuesById[6] = "DIRECTORY_UNSAFE"] = 6;
        values[valuesById[7] = "DIRECTORY_FAILED"] = 7;
        values[valuesById[8] = "PROFILE_UNKNOWN"] = 8;
        values[valuesById[9] = "LAUNCH_FAILED"] = 9;
        values[valuesById[10] = "LIMIT_REACHED"] = 10;
        values[valuesById[11] = "NOT_RUNNING"] = 11;
        values[valuesById[12] = "DEADLINE_EXCEEDED"] = 12;
        values[valuesById[13] = "INTERNAL"] = 13;
        values[valuesById[14] = "HOST_FAILED"] = 14;
        values[valuesById[15] = "NOT_PREPARED"] = 15;
        values[valuesById[16] = "CREDENTIALS_REFUSED"] = 16;
        return values;
    })();

    kpx.Error = (function() {

        /**
         * Properties of an Error.
         * @typedef {Object} kpx.Error.$Properties
         * @property {kpx.ErrorCode|null} [code] Error code
         * @property {string|null} [message] Error message
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */

        /**
         * Properties of an Error.
         * @memberof kpx
         * @interface IError
         * @augments kpx.Error.$Properties
         * @deprecated Use kpx.Error.$Properties instead.
         */

        /**
         * Shape of an Error.
         * @typedef {kpx.Error.$Properties} kpx.Error.$Shape
         */

        /**
         * Constructs a new Error.
         * @memberof kpx
         * @classdesc Represents an Error.
         * @constructor
         * @param {kpx.Error.$Properties=} [properties] Properties to set
         * @property {Array.<Uint8Array>} [$unknowns] Unknown fields preserved while decoding when enabled
         */
        const Error = function (properties) {
            if (properties)
                for (let keys = $Object.keys(properties), i = 0; i < keys.length; ++i)
                    if (properties[keys[i]] != null && keys[i] !== "__proto__")
                        this[keys[i]] = properties[keys[i]];
        };

        /**
         * Error code.
         * @member {kpx.ErrorCode} code
         * @memberof kpx.Error
         * @instance
         */
        Error.prototype.code = 0;

        /**
         * Error message.
         * @member {string} message
         * @memberof kpx.Error
         * @instance
         */
        Error.prototype.message = "";

        /**
         * Encodes the specified Error message. Does not implicitly {@link kpx.Error.verify|verify} messages.
         * @function encode
         * @memberof kpx.Error
         * @static
         * @param {kpx.Error.$Properties} message Error message or plain object to encode
         * @param {$protobuf.Writer} [writer] Writer to encode to
         * @returns {$protobuf.Writer} Writer
         */
        Error.encode = function (message, writer, _depth) {
            if (!writer)
                writer = $Writer.create();
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $util.recursionLimit)
                throw $Error("max depth exceeded");
            if (message.code != null && $Object.hasOwnProperty.call(message, "code") && message.code !== 0)
                writer.uint32(/* id 1, wireType 0 =*/8).int32(message.code);
            if (message.message != null && $Object.hasOwnProperty.call(message, "message") && message.message !== "")
                writer.uint32(/* id 2, wireType 2 =*/18).string(message.message);
            if (message.$unknowns != null && $Object.hasOwnProperty.call(message, "$unknowns"))
                for (let i = 0; i < message.$unknowns.length; ++i)
                    writer.raw(message.$unknowns[i]);
            return writer;
        };

        /**
         * Decodes an Error message from the specified reader or buffer.
         * @function decode
         * @memberof kpx.Error
         * @static
         * @param {$protobuf.Reader|Uint8Array} reader Reader or buffer to decode from
         * @param {number} [length] Message length if known beforehand
         * @returns {kpx.Error & kpx.Error.$Shape} Error
         * @throws {Error} If the payload is not a reader or valid buffer
         * @throws {$protobuf.util.ProtocolError} If required fields are missing
         */
        Error.decode = function (reader, length, _end, _depth, _target) {
            if (!(reader instanceof $Reader))
                reader = $Reader.create(reader);
            if (_depth === $undefined)
                _depth = 0;
            if (_depth > $Reader.recursionLimit)
                throw $Error("max depth exceeded");
            let end, message, value;
            if (length === $undefined)
                end = reader.len;
            else {
                end = reader.pos + length;
                if (end > reader.len)
                    throw $RangeError("index out of range");
                length = reader.len;
                reader.len = end;
            }
            message = _target || new $root.kpx.Error();
            while (reader.pos < end) {
                let start = reader.pos;
                let tag = reader.tag();
                if (tag === _end) {
                    _end = $undefined;
                    break;
                }
                let wireType = tag & 7;
                switch (tag >>>= 3) {
                case 1: {
                        if (wireType !== 0)
                            break;
                        if (value = reader.int32())
                            message.code = value;
                        else
                            delete message.code;
                        continue;
                    }
                case 2: {
                        if (wireType !== 2)
                            break;
                        if ((value = reader.stringVerify()).length)
                            message.message = value;
                        else
                            delete message.message;
                        continue;
                    }
                }
                reader.skipType(wireType, _depth, tag);
                if (!reader.discardUnknown) {
                    $util.makeProp(message, "$unknowns", false);
                    (message.$unknowns || (message.$unknowns = [])).push(reader.raw(start, reader.pos));
                }
            }
            if (length !== $undefined) {
                if (reader.pos !== end)
                    throw $RangeError("index out of range");
                reader.len = length;
            }
            if (_end !== $undefined)
                throw $Error("missing end group");
            return message;
        };

        return Error;
    })();

    return kpx;
})();

export {
  $root as default
};

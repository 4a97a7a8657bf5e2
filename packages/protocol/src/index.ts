export * from './codec.js';
export * from './errors.js';
export * from './limits.js';
export * from './names.js';
export * from './privhelper-config.js';
export * from './session.js';
export * from './toml-config.js';
export * from './transport.js';

export default { performance: globalThis.performance };

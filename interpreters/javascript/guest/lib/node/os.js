// node:os: what a guest may know of its machine, which is nothing of the real one.
export default {
    EOL: '\n', platform: () => 'linux', type: () => 'Linux', arch: () => 'wasm32', release: () => '0.0.0', version: () => 'Sandpool (WebAssembly)',
    hostname: () => 'sandpool', homedir: () => '/home/user', tmpdir: () => '/tmp', endianness: () => 'LE', machine: () => 'wasm32',
    cpus: () => [{ model: 'WebAssembly', speed: 0, times: { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 } }], availableParallelism: () => 1,
    totalmem: () => 2 ** 30, freemem: () => 2 ** 29, uptime: () => performance.now() / 1000, loadavg: () => [0, 0, 0], networkInterfaces: () => ({}),
    userInfo: () => ({ uid: 1000, gid: 1000, username: 'user', homedir: '/home/user', shell: null }), constants: { signals: {} }, devNull: '/dev/null',
};

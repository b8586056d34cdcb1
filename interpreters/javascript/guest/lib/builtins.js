// The built-in modules, by the names that Node has for them.
import assert from 'sandpool:node/assert';
import buffer from 'sandpool:node/buffer';
import crypto from 'sandpool:node/crypto';
import events from 'sandpool:node/events';
import fs from 'sandpool:node/fs';
import os from 'sandpool:node/os';
import path from 'sandpool:node/path';
import perf_hooks from 'sandpool:node/perf_hooks';
import process from 'sandpool:node/process';
import querystring from 'sandpool:node/querystring';
import timers from 'sandpool:node/timers';
import timersPromises from 'sandpool:node/timers/promises';
import url from 'sandpool:node/url';
import util from 'sandpool:node/util';
import { methods as console } from 'sandpool:console';

const modules = new Map(
    Object.entries({
        assert,
        'assert/strict': assert.strict,
        buffer,
        console,
        crypto,
        events,
        fs,
        'fs/promises': fs.promises,
        os,
        path,
        'path/posix': path,
        perf_hooks,
        process,
        querystring,
        timers,
        'timers/promises': timersPromises,
        url,
        util,
    }),
);

const NETWORK = 'this pool has no network';
const PROCESSES = 'WebAssembly has no processes or threads';

/** Modules that Node has and this guest cannot have, with the reason. */
const missing = new Map(
    Object.entries({
        http: NETWORK,
        https: NETWORK,
        http2: NETWORK,
        net: NETWORK,
        tls: NETWORK,
        dgram: NETWORK,
        dns: NETWORK,
        child_process: PROCESSES,
        cluster: PROCESSES,
        worker_threads: PROCESSES,
        readline: 'there is no standard input',
        repl: 'there is no standard input',
        tty: 'there is no terminal',
        async_hooks: '',
        diagnostics_channel: '',
        inspector: '',
        module: '',
        stream: '',
        string_decoder: '',
        v8: '',
        vm: '',
        zlib: '',
        test: '',
        sqlite: '',
    }),
);

export default { modules, missing, names: [...modules.keys()].filter((name) => !name.includes('/')) };

import { setImmediate, setTimeout } from 'sandpool:timers';

const later = (delay, value) => new Promise((settle) => setTimeout(settle, delay, value));

export default {
    setTimeout: later,
    setImmediate: (value) => new Promise((settle) => setImmediate(settle, value)),
    async *setInterval(delay, value) {
        for (;;) yield await later(delay, value);
    },
    scheduler: { wait: later, yield: () => new Promise((settle) => setImmediate(settle)) },
};

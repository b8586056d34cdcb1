// node:assert.
import { inspect } from 'sandpool:inspect';
import { isDeepEqual, isDeepStrictEqual } from 'sandpool:equality';

export class AssertionError extends Error {
    constructor({ message, actual, expected, operator }) {
        super(message);
        this.generatedMessage = false;
        this.code = 'ERR_ASSERTION';
        this.actual = actual;
        this.expected = expected;
        this.operator = operator;
    }

    get name() {
        return 'AssertionError';
    }
}

function demand(holds, message, generated, details) {
    if (holds) return;
    if (message instanceof Error) throw message;
    throw new AssertionError({ message: message ?? generated(), ...details });
}

function comparison(operator, test, text) {
    return (actual, expected, message) => {
        const generated = () =>
            `${text}\n\n${inspect(actual)} ${operator.startsWith('not') ? '!' : '='}== ${inspect(expected)}\n`;
        demand(test(actual, expected), message, generated, { actual, expected, operator });
    };
}

function matches(error, expected) {
    if (expected === undefined) return true;
    if (typeof expected === 'function') {
        if (expected.prototype !== undefined && error instanceof expected) return true;
        return !(expected.prototype instanceof Error || expected === Error) && expected.call({}, error) === true;
    }
    if (expected instanceof RegExp) return expected.test(String(error));
    return Object.keys(expected).every((key) =>
        expected[key] instanceof RegExp && typeof error[key] === 'string'
            ? expected[key].test(error[key])
            : isDeepStrictEqual(error[key], expected[key]),
    );
}

function checkThrown(thrown, error, expected, message, operator) {
    if (typeof expected === 'string') [message, expected] = [expected, undefined];
    demand(
        thrown,
        message,
        () => (operator === 'rejects' ? 'Missing expected rejection.' : 'Missing expected exception.'),
        { expected, operator },
    );
    if (!matches(error, expected)) {
        if (typeof expected === 'function') throw error;
        demand(false, message, () => `The error did not match: ${inspect(error)}`, {
            actual: error,
            expected,
            operator,
        });
    }
}

function assert(value, message) {
    demand(value, message, () => 'The expression evaluated to a falsy value', {
        actual: value,
        expected: true,
        operator: '==',
    });
}

const same = 'Expected values to be strictly equal:',
    alike = 'Expected values to be strictly deep-equal:';
Object.assign(assert, {
    AssertionError,
    ok: (value, message) => assert(value, message),
    fail(message = 'Failed') {
        demand(false, message, () => message, { operator: 'fail' });
    },
    equal: comparison('==', (a, b) => a == b || (a !== a && b !== b), 'Expected values to be loosely equal:'),
    notEqual: comparison('notEqual', (a, b) => a != b, 'Expected values to be loosely unequal:'),
    strictEqual: comparison('strictEqual', Object.is, same),
    notStrictEqual: comparison('notStrictEqual', (a, b) => !Object.is(a, b), 'Expected values to be strictly unequal:'),
    deepEqual: comparison('deepEqual', isDeepEqual, 'Expected values to be loosely deep-equal:'),
    notDeepEqual: comparison(
        'notDeepEqual',
        (a, b) => !isDeepEqual(a, b),
        'Expected values not to be loosely deep-equal:',
    ),
    deepStrictEqual: comparison('deepStrictEqual', isDeepStrictEqual, alike),
    notDeepStrictEqual: comparison(
        'notDeepStrictEqual',
        (a, b) => !isDeepStrictEqual(a, b),
        'Expected values not to be strictly deep-equal:',
    ),
    match: comparison(
        'match',
        (text, pattern) => pattern.test(text),
        'The input did not match the regular expression:',
    ),
    doesNotMatch: comparison(
        'notMatch',
        (text, pattern) => !pattern.test(text),
        'The input was expected not to match the regular expression:',
    ),
    throws(action, expected, message) {
        let thrown = false,
            error;
        try {
            action();
        } catch (caught) {
            [thrown, error] = [true, caught];
        }
        checkThrown(thrown, error, expected, message, 'throws');
    },
    doesNotThrow(action) {
        action();
    },
    async rejects(action, expected, message) {
        let thrown = false,
            error;
        try {
            await (typeof action === 'function' ? action() : action);
        } catch (caught) {
            [thrown, error] = [true, caught];
        }
        checkThrown(thrown, error, expected, message, 'rejects');
    },
    async doesNotReject(action) {
        await (typeof action === 'function' ? action() : action);
    },
    ifError(value) {
        if (value !== null && value !== undefined) throw value;
    },
});
const strict = (value, message) => assert(value, message);
assert.strict = Object.assign(strict, assert, {
    equal: assert.strictEqual,
    notEqual: assert.notStrictEqual,
    deepEqual: assert.deepStrictEqual,
    notDeepEqual: assert.notDeepStrictEqual,
});
assert.strict.strict = assert.strict;

export default assert;

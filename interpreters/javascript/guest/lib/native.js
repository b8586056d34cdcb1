// The native functions (../native.c), taken from the global that only the start of the guest sees.
export default globalThis.__native;

export const STDOUT = 1,
    STDERR = 2,
    DISPLAY = 3,
    UPDATE_DISPLAY = 4,
    CLEAR_OUTPUT = 5,
    RESULT = 6,
    ERROR = 7;

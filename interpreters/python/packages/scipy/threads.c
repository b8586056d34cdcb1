/* Variables of a thread with destructors, which C++ asks to be called when the thread ends: the only one there is never does. */

int __cxa_thread_atexit(void (*destroy)(void *), void *object, void *library)
{
    (void)destroy, (void)object, (void)library;
    return 0;
}

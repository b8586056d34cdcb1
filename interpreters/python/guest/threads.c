/*
 * CPython brings stand-ins for pthreads, since WASI has no threads; libc++ uses one function more of the condition variable.
 * The C library's own would come with duplicates of those that CPython has.
 */
#include <pthread.h>

int
pthread_cond_broadcast(pthread_cond_t *condition)
{
    (void)condition;
    return 0;
}

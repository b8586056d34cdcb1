//! Waiting for a guest from code that is not async: on a thread and a runtime of its own, because the caller may be
//! inside another runtime, where blocking is forbidden. For making images; executions never come here.

use std::io;
use std::thread;

/// Waits for `future`.
///
/// # Errors
/// When the machine gives no thread, or the future panics.
pub fn wait<F: Future + Send>(future: F) -> io::Result<F::Output>
where
    F::Output: Send,
{
    thread::scope(|scope| {
        let waiting = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            Ok(runtime.block_on(future))
        };
        let waited = thread::Builder::new().spawn_scoped(scope, waiting)?.join();
        waited.unwrap_or_else(|_panic| Err(io::Error::other("it panicked")))
    })
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_may_be_called_inside_a_runtime() {
        assert_eq!(super::wait(async { 7 }).unwrap(), 7);
        assert!(super::wait(async { panic!("for the test") }).is_err());
    }
}

//! The packages' own tests, in sessions of the full edition, against the record of what passed: `tests/clients/suites/`.

use std::path::PathBuf;

use sandpool::config::default_cache_dir;

use crate::support::gateway::Gateway;
use crate::support::guests;
use crate::support::python::Python;

/// Tests of large arrays need memory, whole suites print much, and a file of tests may take an hour.
const POOL: &str = "
[[pool]]
name = 'python'
edition = 'full'
ready_session_instances = 1
[pool.limits]
memory_mebibytes = 2048
timeout_ceiling_seconds = 7200
output_bytes = 268435456
file_count = 100000
files_bytes = 2147483648
";

/// What everybody's first lines rest on, in a minute or two. `SANDPOOL_TEST_SUITES=1` runs all of numpy's and pandas'.
const SAMPLE: &str = "_core/tests/test_numeric.py,linalg/tests/test_linalg.py,fft/tests/*,random/tests/test_random.py,\
    lib/tests/test_function_base.py,tests/groupby/test_groupby.py,tests/reshape/merge/test_merge.py";

fn run(name: &str) {
    if guests::full_edition().is_none() {
        return;
    }
    let cache: PathBuf = default_cache_dir().join("suites");
    let cache = cache.to_str().expect("the user's cache has a path of text");
    let mut environment = vec![("SANDPOOL_SUITE_CACHE", cache), ("SANDPOOL_SUITES", name)];
    let given: Vec<_> = ["SANDPOOL_SUITE_FILES", "SANDPOOL_SUITE_RECORD"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)))
        .collect();
    environment.extend(given.iter().map(|(name, value)| (*name, value.as_str())));
    if std::env::var_os("SANDPOOL_TEST_SUITES").is_none() && given.is_empty() {
        environment.push(("SANDPOOL_SUITE_FILES", SAMPLE));
    }
    Python::with("suites").run_with("test_suites.py", &Gateway::configured(POOL), &environment);
}

#[test]
fn numpys_own_tests_pass_as_before() {
    run("numpy");
}

#[test]
fn pandas_own_tests_pass_as_before() {
    run("pandas");
}

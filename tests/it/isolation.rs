//! Two sessions never see each other's variables, files, environment or random numbers.

use std::collections::HashSet;

use sandpool::interpreter::Recipe;

use crate::support::guests::Guest;

/// How many sessions follow each other on the same few slots.
const GENERATIONS: usize = 3000;
/// Prints random numbers; raises when anything of another session is there.
const LOOK: &str = "\
import os, random, uuid, glob
assert 'canary' not in globals()
assert 'CANARY' not in os.environ
assert glob.glob('/mnt/data/*') + glob.glob('/tmp/*') == []
print(random.random(), uuid.uuid4().hex)";

#[tokio::test]
async fn sessions_that_take_over_a_slot_find_nothing() {
    // A canary in variables, in a file, in the environment and in freed memory; each generation looks for the others'.
    let mut seeds = HashSet::new();
    for generation in 0..GENERATIONS {
        let mut guest = Guest::new().await;
        let found = guest.run(LOOK).await;
        assert_eq!(found.error(), None, "generation {generation}: {found:?}");
        assert!(seeds.insert(found.stdout()), "generation {generation} drew the numbers of another");
        let leave = format!(
            "import os\ncanary = 'CANARY-{generation}' * 100\nos.environ['CANARY'] = canary\nopen('canary', 'w').write(canary)"
        );
        assert_eq!(guest.run(&leave).await.error(), None);
    }
}

#[tokio::test]
async fn freed_memory_of_another_session_is_not_there() {
    // A fresh bytearray of uninitialised memory, and the whole of what the allocator hands out, hold no canary.
    let secret = "tenant-a-marker";
    for _ in 0..50 {
        let mut first = Guest::new().await;
        first.run(&format!("hoard = ['{secret}' * 1000 for _ in range(2000)]\ndel hoard")).await;
        drop(first);
        let mut second = Guest::new().await;
        // The needle is built so that it does not stand in the code itself.
        let scan = "import array\nneedle = bytes([116,101,110,97,110,116]) + b'-a-' + bytes([109,97,114,107,101,114])\n\
                    found = 0\nfor size in (64, 512, 4096, 65536, 1 << 20, 8 << 20):\n    blocks = [bytearray(size) for _ in range(8)]\n    \
                    found += sum(needle in block for block in blocks)\nfound";
        let ran = second.run(scan).await;
        assert_eq!(ran.result(), Some("0"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_guest_sees_nothing_of_the_host() {
    let mut guest = Guest::new().await;
    let environment = guest.run("import os\nprint(sorted(os.environ))").await;
    let mut told: Vec<_> = Recipe::named("python").unwrap().manifest.environment.into_keys().collect();
    told.sort();
    assert_eq!(
        environment.stdout().trim(),
        format!("{told:?}").replace('"', "'"),
        "what the manifest says, and no more"
    );
    for path in ["/etc/shadow", "/proc/self/environ", "/root", "/work", "/sys", "../../../../etc/shadow"] {
        let ran = guest.run(&format!("open({path:?})")).await;
        assert!(matches!(ran.error(), Some("FileNotFoundError" | "IsADirectoryError")), "{path}: {ran:?}");
    }
}

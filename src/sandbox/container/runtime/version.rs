//! Which versions of a runtime are taken, and what is to be said about them.

/// Three numbers, as runtimes are versioned.
type Version = (u32, u32, u32);

/// The first release of gVisor that is taken: the oldest one that this was tried with. Debian 12 itself has one of 2022,
/// which lacks the platform that is used.
const GVISOR_FLOOR: u32 = 20_240_729;
/// From about then on a kernel with nothing to do wakes up seldom.
const GVISOR_QUIET: u32 = 20_260_701;

/// A runtime's word about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox::container) struct Found {
    /// As it says it.
    pub text: String,
    pub seccomp: bool,
    pub warnings: Vec<String>,
}

/// Reads what `--version` prints.
///
/// # Errors
/// In a sentence, when the runtime is too old to be safe.
pub(in crate::sandbox::container) fn read(engine: &str, printed: &str) -> Result<Found, String> {
    if engine == "runsc" {
        return read_gvisor(printed);
    }
    let first = printed.lines().next().unwrap_or_default();
    let text = first.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let text = text.ok_or_else(|| format!("{engine} --version says {first:?}, which names no version"))?;
    let version = numbers(text).ok_or_else(|| format!("{engine} says its version is {text:?}"))?;
    let mut warnings = Vec::new();
    match engine {
        // CVE-2024-21626 lets an image leave its container. Debian 12 has the fix in 1.1.5+ds1-1+deb12u1.
        "runc" if version < (1, 1, 12) && !has_debian_fix(printed) => {
            return Err(format!(
                "runc {text} has known ways out of its containers (CVE-2024-21626); 1.1.12 or later is needed"
            ));
        }
        "runc" if version < (1, 2, 8) || ((1, 3, 0)..(1, 3, 3)).contains(&version) => warnings.push(format!(
            "runc {text} lacks the fixes for CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881; sessions run in user \
             namespaces, which those do not cross by themselves, but 1.2.8, 1.3.3 or later is better"
        )),
        "crun" if version < (1, 8, 1) => return Err(format!("crun {text} is too old; 1.8.1 or later is needed")),
        _ => {}
    }
    let seccomp = printed.contains("libseccomp") || printed.contains("+SECCOMP");
    Ok(Found { text: text.to_owned(), seccomp, warnings })
}

/// gVisor's versions are days: `runsc version release-20240729.0`, and Debian's `0.0~20240729.0`.
fn read_gvisor(printed: &str) -> Result<Found, String> {
    let first = printed.lines().next().unwrap_or_default();
    let text = first.strip_prefix("runsc version ").unwrap_or_default();
    let day = text.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 8);
    let day: u32 = day.and_then(|day| day.parse().ok()).ok_or_else(|| {
        format!("runsc --version says {first:?}, which names no release: install one of gVisor's releases")
    })?;
    if day < GVISOR_FLOOR {
        return Err(format!(
            "runsc {text} is too old; {GVISOR_FLOOR} or later is needed: apt-get install -t bookworm-backports runsc, or a later \
             release of gVisor's own"
        ));
    }
    let mut warnings = Vec::new();
    if day < GVISOR_QUIET {
        warnings.push(format!(
            "runsc {text} takes 3 to 4 % of a processor for each session in use, busy or not (gVisor's issue 13361); releases \
             of the second half of 2026 take less"
        ));
    }
    // Its filter is compiled in, and there is no switch for it.
    Ok(Found { text: text.to_owned(), seccomp: true, warnings })
}

fn numbers(text: &str) -> Option<Version> {
    let plain = text.split(['+', '-', '~']).next()?;
    let mut parts = plain.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}

/// `commit: 1.1.5+ds1-1+deb12u1`.
fn has_debian_fix(printed: &str) -> bool {
    let revision = printed.split("1.1.5+ds1-1+deb12u").nth(1);
    revision.is_some_and(|rest| rest.chars().next().is_some_and(|digit| ('1'..='9').contains(&digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\nlibseccomp: 2.5.4\n";

    #[test]
    fn releases_of_gvisor_are_days() {
        let debian = read("runsc", "runsc version 0.0~20240729.0\nspec: 1.0.2-dev\n").unwrap();
        assert_eq!((debian.text.as_str(), debian.seccomp, debian.warnings.len()), ("0.0~20240729.0", true, 1));
        let own = read("runsc", "runsc version release-20260803.0\nspec: 1.2.0\n").unwrap();
        assert_eq!((own.text.as_str(), own.warnings), ("release-20260803.0", vec![]));
        let old = read("runsc", "runsc version 0.0~20221219.0\n").unwrap_err();
        assert!(old.contains("apt-get install -t bookworm-backports runsc"), "{old}");
        for text in ["", "runsc version VERSION_MISSING\n", "runsc\n", "20260803\n"] {
            assert!(read("runsc", text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_have_floors() {
        let debian = read("runc", DEBIAN).unwrap();
        assert_eq!((debian.text.as_str(), debian.seccomp, debian.warnings.len()), ("1.1.5+ds1", true, 1));
        assert!(read("runc", "runc version 1.1.5\n").is_err());
        assert!(read("runc", "runc version 1.1.11\n").is_err());
        assert_eq!(read("runc", "runc version 1.3.2\n").unwrap().warnings.len(), 1);
        for text in ["runc version 1.2.8\n", "runc version 1.3.6\n", "runc version 1.4.0-rc.1\n"] {
            assert_eq!(read("runc", text).unwrap().warnings, Vec::<String>::new(), "{text}");
        }
        assert!(read("crun", "crun version 1.8.1\n+SYSTEMD +SECCOMP").unwrap().seccomp);
        assert!(read("crun", "crun version 1.5\n").is_err());
        for text in ["", "runc version dev\n", "runc\n"] {
            assert!(read("runc", text).is_err(), "{text}");
        }
    }
}

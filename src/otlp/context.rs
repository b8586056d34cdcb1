//! Ids of traces and spans, and W3C Trace Context: the `traceparent` that a caller may send.
//!
//! `tracestate` is not kept: it is a text of the caller's, and spans hold none.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a span stands: its trace, and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub trace: [u8; 16],
    pub span: [u8; 8],
}

impl Identity {
    /// The beginning of a trace.
    pub(super) fn root() -> Self {
        let (high, low) = (random().to_be_bytes(), random().to_be_bytes());
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&high);
        trace[8..].copy_from_slice(&low);
        Self { trace, span: random().to_be_bytes() }
    }

    /// Another span of the same trace.
    pub(super) fn sibling(self) -> Self {
        Self { span: random().to_be_bytes(), ..self }
    }
}

/// A number that nobody guesses and that does not come twice: a keyed hash of a counter. No call of the system, and never 0,
/// which stands for "none".
fn random() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).max(1)
}

/// A caller's `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) identity: Identity,
    /// Whether the caller wants this trace to be kept.
    pub(super) sampled: bool,
}

impl TraceParent {
    /// Reads `00-<trace id>-<span id>-<flags>`, and later versions as far as they begin the same. None when it is none, which
    /// is as if it had not been sent.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version] = hex::<1>(parts.next()?)?;
        let (trace, span) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
        let [flags] = hex::<1>(parts.next()?)?;
        let whole = version != 0xff && (version != 0 || parts.next().is_none());
        let named = trace != [0; 16] && span != [0; 8];
        (whole && named).then_some(Self { identity: Identity { trace, span }, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write =
            |f: &mut fmt::Formatter<'_>, bytes: &[u8]| bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        f.write_str("00-")?;
        write(f, &self.identity.trace)?;
        f.write_str("-")?;
        write(f, &self.identity.span)?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

/// Bytes from lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_w3c_has_it() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(text).unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), text);
        assert!(!TraceParent::parse(&text.replace("-01", "-00")).unwrap().sampled);
        // A later version may go on.
        assert!(TraceParent::parse(&format!("{}-more", text.replacen("00", "cc", 1))).is_some());
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-canarycanarycanarycanarycanaryca-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_differ() {
        let (one, other) = (Identity::root(), Identity::root());
        assert_ne!(one.trace, other.trace);
        assert_ne!(one.sibling(), one);
        assert_eq!(one.sibling().trace, one.trace);
    }
}

//! Messages of the DNS (RFC 1035), as far as a stub resolver needs them answered: one question, addresses or none.

use std::net::Ipv4Addr;

use super::TTL;

const HEADER: usize = 12;
const ADDRESS: u16 = 1;
const INTERNET: u16 = 1;
const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const MALFORMED: u8 = 1;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// None: the name is there, and has nothing of the kind.
    Addresses(Vec<Ipv4Addr>),
    NoSuchName,
    Failed,
}

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// Labels with dots between, whatever is in them.
    pub name: String,
    kind: u16,
    class: u16,
    head: &'a [u8],
    /// The question as it came, which is repeated.
    question: &'a [u8],
}

impl<'a> Query<'a> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// What to answer to something that is no question; None: nothing.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Option<Vec<u8>>> {
        let (head, rest) = message.split_at_checked(HEADER).ok_or(None)?;
        if head[2] & RESPONSE != 0 {
            return Err(None);
        }
        let malformed = || Some(reply(head, MALFORMED, &[], &[]));
        if head[2] & OPCODE != 0 || head[4..6] != [0, 1] {
            return Err(malformed());
        }
        let (name, length) = name(rest).ok_or_else(malformed)?;
        let question = rest.get(..length + 4).ok_or_else(malformed)?;
        let number = |at: usize| u16::from_be_bytes([question[at], question[at + 1]]);
        Ok(Self { name, kind: number(length), class: number(length + 2), head, question })
    }

    pub(super) fn asks_for_addresses(&self) -> bool {
        self.kind == ADDRESS && self.class == INTERNET
    }

    /// The message that answers it.
    pub(super) fn answer(&self, answer: &Answer) -> Vec<u8> {
        match answer {
            Answer::Addresses(addresses) => reply(self.head, 0, self.question, addresses),
            Answer::Failed => reply(self.head, 2, self.question, &[]),
            Answer::NoSuchName => reply(self.head, 3, self.question, &[]),
        }
    }
}

/// A name without compression, which questions do not need; and how many bytes it takes.
fn name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        match length {
            0 => return Some((name, at)),
            1..=63 if at + length <= 255 => {
                let label = bytes.get(at..at + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                // A dot or anything else within a label becomes something that no name has.
                name.extend(
                    label
                        .iter()
                        .map(|byte| if byte.is_ascii_graphic() && *byte != b'.' { char::from(*byte) } else { '\0' }),
                );
                at += length;
            }
            _ => return None,
        }
    }
}

fn reply(head: &[u8], code: u8, question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    let flags = [RESPONSE | (head[2] & (OPCODE | RECURSION_DESIRED)), RECURSION_AVAILABLE | code];
    let questions = u8::from(!question.is_empty());
    let mut message = vec![head[0], head[1], flags[0], flags[1], 0, questions, 0, count, 0, 0, 0, 0];
    message.extend_from_slice(question);
    for address in addresses.iter().take(count.into()) {
        // The name is the one of the question, behind the header.
        message.extend_from_slice(&[0xc0, HEADER as u8]);
        message.extend_from_slice(&ADDRESS.to_be_bytes());
        message.extend_from_slice(&INTERNET.to_be_bytes());
        message.extend_from_slice(&u32::try_from(TTL.as_secs()).unwrap_or(0).to_be_bytes());
        message.extend_from_slice(&[0, 4]);
        message.extend_from_slice(&address.octets());
    }
    message
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A question for a name, of a kind.
    pub(in super::super) fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&INTERNET.to_be_bytes());
        message
    }

    #[test]
    fn questions_are_answered() {
        let message = question("a.example", ADDRESS);
        let query = Query::parse(&message).unwrap();
        assert!(query.name == "a.example" && query.asks_for_addresses());
        let answer = query.answer(&Answer::Addresses(vec![Ipv4Addr::new(1, 2, 3, 4)]));
        assert_eq!(answer[..8], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1]);
        assert_eq!(answer[12..message.len()], message[12..]);
        assert_eq!(answer[message.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
        assert_eq!(query.answer(&Answer::NoSuchName)[3], 0x83);
        assert!(!Query::parse(&question("a.example", 28)).unwrap().asks_for_addresses());
        let longest = question(&vec!["x".repeat(63); 3].join("."), ADDRESS);
        let answer = Query::parse(&longest).unwrap().answer(&Answer::Addresses(vec![Ipv4Addr::LOCALHOST; 8]));
        assert!(answer.len() <= 512);
    }

    #[test]
    fn what_is_no_question_gets_no_name() {
        let whole = question("a.example", ADDRESS);
        assert_eq!(Query::parse(&whole[..11]), Err(None));
        for cut in HEADER..whole.len() {
            assert!(matches!(Query::parse(&whole[..cut]), Err(Some(answer)) if answer[3] & 15 == MALFORMED), "{cut}");
        }
        let mut answer = whole.clone();
        answer[2] |= RESPONSE;
        assert_eq!(Query::parse(&answer), Err(None), "answers are not answered");
        let mut pointer = whole.clone();
        pointer[12] = 0xc0;
        assert!(Query::parse(&pointer).is_err());
        let mut dotted = whole;
        dotted[15] = b'.';
        assert_eq!(Query::parse(&dotted).unwrap().name, "a.\0xample");
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(message in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(query) = Query::parse(&message) {
                prop_assert!(query.name.len() <= 255);
                let answer = query.answer(&Answer::NoSuchName);
                prop_assert_eq!(&answer[..2], &message[..2]);
            }
        }
    }
}

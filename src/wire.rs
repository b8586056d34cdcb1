//! Numbers and texts as bytes, and back: little-endian, every length checked against what is there before anything is allocated.
//!
//! It knows no format; those are where what they hold is (`files/`, `sandbox/wasm/`, `snapshot/`).

/// Bytes that are not what they should be: what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

const CUT: Malformed = Malformed("it ends early");

/// Reads from the front of some bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// The number of things that follow, each of at least `least_bytes`: never more than the bytes that are left can hold.
    pub fn count(&mut self, least_bytes: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if count <= self.0.len() / least_bytes.max(1) { Ok(count) } else { Err(CUT) }
    }

    /// A text with its length before it.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// Says that this is all.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("more follows than should")) }
    }
}

/// Writes what [`Reader`] reads.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// # Panics
    /// When there are 2^32 things, which no memory holds.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("what is counted is in memory"));
    }

    /// # Panics
    /// When the text is longer than 65,535 bytes: names and paths are shorter by rule.
    pub fn text(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).expect("names and paths are short"));
        self.bytes(text.as_bytes());
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_every_cut_is_noticed() {
        let mut writer = Writer::default();
        writer.u8(1);
        writer.u16(2);
        writer.u64(4);
        writer.text("é");
        writer.count(3);
        writer.bytes(b"abc");
        let bytes = writer.into_bytes();
        let read = |bytes: &[u8]| -> Result<(u8, u16, u64, String, Vec<u8>), Malformed> {
            let mut reader = Reader::new(bytes);
            let read = (reader.u8()?, reader.u16()?, reader.u64()?, reader.text()?.to_owned(), {
                let count = reader.count(1)?;
                reader.take(count)?.to_vec()
            });
            reader.end()?;
            Ok(read)
        };
        assert_eq!(read(&bytes), Ok((1, 2, 4, "é".to_owned(), b"abc".to_vec())));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_count_is_never_more_than_can_follow() {
        let mut reader = Reader::new(&[255, 255, 255, 255, 0, 0]);
        assert_eq!(reader.count(1), Err(CUT));
    }
}

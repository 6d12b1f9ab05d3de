//! TIFF's directory of entries, which EXIF data is as well: how a picture is to be turned, and how
//! large it is.

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const ORIENTATION: u16 = 274;

/// Types of entries: numbers of 16 and of 32 bits.
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The first directory of a TIFF structure.
pub(crate) struct Directory<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
    entries_at: usize,
    count: usize,
}

impl<'a> Directory<'a> {
    /// `None` if this is no such structure.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Directory<'a>> {
        let is_big_endian = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let mut directory = Directory { bytes, is_big_endian, entries_at: 0, count: 0 };
        let at = usize::try_from(directory.u32(4)?).ok()?;
        directory.count = directory.u16(at)?.into();
        directory.entries_at = at + 2;
        Some(directory)
    }

    /// From 1, upright, to 8 (EXIF 2.3, 4.6.4); with where the number stands.
    pub(crate) fn orientation(&self) -> Option<(u8, usize)> {
        let (value, at) = self.number(ORIENTATION)?;
        let value = u8::try_from(value).ok().filter(|value| (1..=8).contains(value))?;
        Some((value, at))
    }

    pub(crate) fn size_px(&self) -> Option<(u32, u32)> {
        Some((self.number(WIDTH)?.0, self.number(HEIGHT)?.0))
    }

    /// The value of an entry that is one number, and where it stands.
    fn number(&self, tag: u16) -> Option<(u32, usize)> {
        let entries = (0..self.count).map(|index| self.entries_at + 12 * index);
        let at = entries
            .take_while(|at| *at < self.bytes.len())
            .find(|at| self.u16(*at) == Some(tag))?;
        let value = match self.u16(at + 2)? {
            SHORT => self.u16(at + 8)?.into(),
            LONG => self.u32(at + 8)?,
            _ => return None,
        };
        Some((value, at + 8))
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let pair = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    }
}

/// A TIFF file whose decoder leaves its pixels where they lie: some turn them whatever they are
/// asked, others never do.
pub(crate) fn without_orientation(tiff: &[u8]) -> Vec<u8> {
    let mut bytes = tiff.to_vec();
    if let Some((_, at)) = Directory::of(tiff).and_then(|directory| directory.orientation()) {
        // 16 or 32 bits in either order: all but one of the bytes are zero.
        let number = bytes.get_mut(at..at + 4).unwrap_or_default();
        number.iter_mut().filter(|byte| **byte != 0).for_each(|byte| *byte = 1);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_read_in_both_orders_and_nonsense_is_none() {
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0";
        assert_eq!(Directory::of(big).unwrap().orientation(), Some((6, 18)));
        assert_eq!(Directory::of(little).unwrap().orientation(), Some((8, 18)));
        assert_eq!(Directory::of(&without_orientation(big)).unwrap().orientation(), Some((1, 18)));
        for end in 0..20 {
            let cut = Directory::of(&big[..end.min(19)]);
            assert_eq!(cut.and_then(|directory| directory.orientation()), None);
        }
        let far = b"MM\0*\xFF\xFF\xFF\xFF\0\x01";
        assert!(Directory::of(far).is_none());
    }
}

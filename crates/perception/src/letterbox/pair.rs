//! Two neighbouring pixels of a source row in one read.

/// Two pixels side by side, the first byte lowest; zeros behind the end of the image.
#[inline(always)]
pub(super) fn pair_at(source: &[u8], offset: u32) -> u64 {
    let at = offset as usize;
    match source.get(at..at + 8) {
        Some(pair) => u64::from_le_bytes(pair.try_into().expect("eight bytes")),
        None => last_pair(&source[at..]),
    }
}

#[cold]
#[inline(never)]
fn last_pair(rest: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| rest.get(i).copied().unwrap_or(0)))
}

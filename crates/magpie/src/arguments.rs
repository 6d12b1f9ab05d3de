//! Values that several commands take from the command line.

/// A score given on the command line.
pub(crate) fn score(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_score = (0.0..=1.0).contains(&value);
    is_score.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1"))
}

/// How many of something: at least one.
pub(crate) fn count<T: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let value: Option<T> = text.parse().ok().filter(|value| *value >= T::from(1));
    value.ok_or_else(|| format!("{text:?} is no whole number from 1 up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_whole_number_from_one_up() {
        assert_eq!(count::<u64>("1"), Ok(1));
        for wrong in ["0", "-1", "1.5", "many", ""] {
            assert_eq!(count::<u32>(wrong), Err(format!("{wrong:?} is no whole number from 1 up")));
        }
    }
}

//! Values that several commands take from the command line.

/// A score given on the command line.
pub(crate) fn score(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_score = (0.0..=1.0).contains(&value);
    is_score.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1"))
}

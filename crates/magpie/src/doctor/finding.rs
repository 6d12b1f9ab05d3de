//! One thing that was looked at, and what to do about it.

/// What a finding means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Worth knowing; a run would do.
    Note,
    /// Stands in the way of a run, or will.
    Mend,
    /// The same, and the configuration is what has to change.
    Misconfigured,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    /// What was looked at, in one or two words.
    pub what: &'static str,
    pub found: String,
    /// What to do; empty where there is nothing to do.
    pub remedy: String,
}

impl Finding {
    pub fn good(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Good, what, found: found.into(), remedy: String::new() }
    }

    pub fn note(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { verdict: Verdict::Note, what, found: found.into(), remedy: remedy.into() }
    }

    pub fn mend(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { verdict: Verdict::Mend, what, found: found.into(), remedy: remedy.into() }
    }

    pub fn misconfigured(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        let (found, remedy) = (found.into(), remedy.into());
        Finding { verdict: Verdict::Misconfigured, what, found, remedy }
    }

    pub fn line(&self) -> String {
        let Finding { verdict, what, found, remedy } = self;
        let mark = match verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Mend | Verdict::Misconfigured => "MEND",
        };
        let arrow = if remedy.is_empty() { "" } else { " -> " };
        format!("{mark:<5}{what:<15}{found}{arrow}{remedy}")
    }
}

//! What an action would do, for people and for machines.

use crate::words::seconds_in_words;
use serde::Serialize;
use std::fmt::Write;

/// What an action would do.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionPlan {
    /// What, in one word.
    pub action: &'static str,
    /// To what.
    pub subject: String,
    /// What would happen, in order.
    pub steps: Vec<String>,
    /// What is affected by it.
    pub affects: Vec<String>,
    /// About how many seconds it takes; none where that is not known.
    pub about_seconds: Option<f64>,
    /// Why it may not be done now; none when it may.
    pub refused: Option<String>,
    /// What may be done now instead.
    pub instead: Vec<String>,
}

impl ActionPlan {
    pub(crate) fn of(action: &super::Action) -> Self {
        Self {
            action: action.name(),
            subject: action.subject(),
            steps: Vec::new(),
            affects: Vec::new(),
            about_seconds: None,
            refused: None,
            instead: Vec::new(),
        }
    }

    pub(crate) fn step(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    pub(crate) fn affects(mut self, what: impl Into<String>) -> Self {
        self.affects.push(what.into());
        self
    }

    /// Says that it may not be done now, and what may.
    pub(crate) fn refuse<'a>(
        mut self,
        reason: impl Into<String>,
        instead: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.refused = Some(reason.into());
        self.instead = instead.into_iter().map(str::to_owned).collect();
        self
    }

    /// Whether it may be done now.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.refused.is_none()
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { action, subject, steps, affects, about_seconds, refused, instead } = self;
        let mut text = format!("{action} {subject} would:\n");
        for (number, step) in steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {step}", number + 1);
        }
        if let Some(seconds) = about_seconds {
            let _ = writeln!(text, "about: {}", seconds_in_words(*seconds));
        }
        if !affects.is_empty() {
            let _ = writeln!(text, "affects: {}", affects.join("; "));
        }
        match refused {
            None => text.push_str("It may be done now."),
            Some(reason) => {
                let _ = write!(text, "It may NOT be done now: {reason}.");
                if !instead.is_empty() {
                    let _ = write!(text, "\nWhat may be done: {}", instead.join(", "));
                }
            }
        }
        text
    }
}

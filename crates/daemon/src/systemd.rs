//! Notifications to systemd.

use sd_notify::NotifyState;

/// Does nothing where systemd is not listening.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "notify systemd");
    }
}

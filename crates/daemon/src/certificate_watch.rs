//! Looks after the certificates that this process shows to others: once one has expired, whoever joins
//! is turned away.

use magpie_network::Certificate;
use magpie_perception::{SharedClock, StampNs};
use magpie_wire::Reason;

pub(crate) struct CertificateWatch {
    clock: SharedClock,
    /// The one that expires first.
    soonest: Option<Certificate>,
}

impl CertificateWatch {
    pub(crate) fn start(certificates: Vec<Certificate>, clock: &SharedClock) -> CertificateWatch {
        let soonest = certificates.into_iter().min_by_key(|certificate| certificate.valid_until);
        CertificateWatch { clock: clock.clone(), soonest }
    }

    pub(crate) fn look(&self) -> Option<Reason> {
        let certificate = self.soonest.as_ref()?;
        let unix_ns = self.clock.now().unix_ns(self.clock.unix_ahead_ns());
        let days_left = certificate.days_left(StampNs(unix_ns));
        (days_left < Certificate::RENEW_DAYS)
            .then(|| Reason::CertificateExpires { path: certificate.path.clone(), days_left })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use magpie_perception::Clock;

    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> StampNs {
            StampNs(5)
        }

        /// A hundred days after the epoch.
        fn unix_ahead_ns(&self) -> i64 {
            100 * DAY_NS as i64
        }
    }

    const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

    #[track_caller]
    fn check(days: &[u64], days_left: Option<i64>) {
        let certificate = |day: &u64| Certificate {
            path: format!("{day}.pem").into(),
            common_name: "dock-daemon".into(),
            valid_until: StampNs(day * DAY_NS + 10),
        };
        let clock: SharedClock = Arc::new(Fixed);
        let watch = CertificateWatch::start(days.iter().map(certificate).collect(), &clock);
        let told = watch.look().map(|reason| match reason {
            Reason::CertificateExpires { days_left, .. } => days_left,
            other => panic!("{other}"),
        });
        assert_eq!(told, days_left, "{days:?}");
    }

    #[test]
    fn the_certificate_that_expires_first_is_told_a_month_before() {
        check(&[], None);
        check(&[130], None);
        check(&[400, 129], Some(29));
        check(&[99], Some(-1));
    }
}

//! What became of a pick, told to the cell.

use magpie_wire::{OutcomeRefusal, Pick, PickReport};
use prost::Message;
use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::qos::CongestionControl;

use crate::Client;

/// Why a report was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the report would be refused: {0}")]
    Refused(#[from] OutcomeRefusal),
    #[error("the pick is one of cell {found:?}, and this client has joined {cell:?}")]
    OtherCell { found: String, cell: String },
    #[error("the client was closed; connect again")]
    Closed,
    #[error("send the report on {key}")]
    Send {
        key: String,
        #[source]
        source: zenoh::Error,
    },
}

impl Client {
    /// Tells the cell what became of a pick. The daemon counts and records it; nothing that it does with
    /// pictures changes. Later reports about the same pick replace earlier ones as a whole, for as long
    /// as ten minutes after the exposure.
    ///
    /// ```no_run
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # use magpie_client::{Client, Freshness, PickReport, wire::Outcome};
    /// # let client = Client::connect("dock-7")?;
    /// # let packages = client.packages()?;
    /// # let Freshness::Fresh(view) = packages.latest() else { return Ok(()) };
    /// # let Some(best) = view.best_grasp()? else { return Ok(()) };
    /// let pick = view.pick(best.package, best.grasp).expect("they are of this view");
    /// // The arm moves, and the view expires meanwhile.
    /// let report = PickReport { weight_kg: Some(0.41), ..PickReport::new(Outcome::Held) };
    /// client.report_outcome(&pick, &report)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It returns once the report is handed over to the network; nobody answers. Whether reports are
    /// taken stands in `picks` of [`status`](Client::status), those that are not by their reason. A
    /// secured cell takes them from the arm alone.
    ///
    /// # Errors
    /// If the daemon would refuse it, or the network does not take it.
    pub fn report_outcome(&self, pick: &Pick, report: &PickReport) -> Result<(), ReportError> {
        let cell = self.options.cell.as_str();
        if pick.cell() != cell {
            return Err(ReportError::OtherCell { found: pick.cell().into(), cell: cell.into() });
        }
        if self.is_closed() {
            return Err(ReportError::Closed);
        }
        let message =
            pick.report(report, self.now().unix_ns(self.options.clock.unix_ahead_ns()))?;
        let key = self.options.cell.key("outcomes");
        let put = self.session.get().put(key.as_str(), message.encode_to_vec());
        // There is no next one that would replace it.
        let put = put.congestion_control(CongestionControl::Block);
        let encoding = Encoding::APPLICATION_PROTOBUF.with_schema("magpie.v1.PickOutcome");
        put.encoding(encoding).wait().map_err(|source| {
            if self.is_closed() { ReportError::Closed } else { ReportError::Send { key, source } }
        })
    }
}

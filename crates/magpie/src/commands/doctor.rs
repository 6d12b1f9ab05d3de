//! `magpie doctor`: what stands in the way on this machine, one line each, with the remedy.

use std::path::PathBuf;

use anyhow::anyhow;

use crate::arguments::ZenohArgs;
use crate::doctor::{Finding, Scope, Verdict, examine};
use crate::present::output;
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// A configuration to look at, once or more; absent: all in /etc/magpie, or else the shipped one.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Do not ask the local networks for cameras: otherwise one question goes to everybody there.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

/// # Errors
/// If something is to be mended: in a configuration, or else on this machine.
pub fn doctor(args: &DoctorArgs) -> Outcome {
    let DoctorArgs { config, offline, zenoh } = args;
    let scope = Scope { configurations: config, zenoh, ask_networks: !offline };
    let findings = examine(&scope);
    for finding in &findings {
        output::line(&finding.line())?;
    }
    let count = |verdict| findings.iter().filter(|one: &&Finding| one.verdict == verdict).count();
    let (mend, misconfigured) = (count(Verdict::Mend), count(Verdict::Misconfigured));
    match (mend + misconfigured, misconfigured) {
        (0, _) => output::line("ok: nothing stands in the way; `magpie check` tries it"),
        (all, 0) => Err(Failure::Fault(anyhow!("{all} to mend"))),
        (all, _) => Err(Failure::Config(anyhow!(
            "{all} to mend, {misconfigured} of them in a configuration"
        ))),
    }
}

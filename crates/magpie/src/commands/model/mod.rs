//! `magpie model`: installs models, and changes the one that a running cell uses.

mod install;
mod list;
mod order;
mod shadow;

use magpie_daemon::control::Order;
use magpie_daemon::failure::Outcome;

#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check a model, show what would change on the last recording, and put it where cells find it.
    Install(install::InstallArgs),
    /// List the installed models, and which cell uses which.
    List(list::ListArgs),
    /// Let a running cell use an installed model from the next frame on.
    Use(UseArgs),
    /// Let a running cell use the model before again.
    Rollback(order::CellArgs),
}

#[derive(Debug, clap::Args)]
struct UseArgs {
    /// Its name, or the first digits of its hash; `configured` is the model of the configuration.
    model: String,
    #[command(flatten)]
    cell: order::CellArgs,
}

pub fn model(args: &ModelArgs) -> Outcome {
    match &args.command {
        Command::Install(args) => install::install(args),
        Command::List(args) => list::list(args),
        Command::Use(args) => order::give(&args.cell, &Order::UseModel(args.model.clone())),
        Command::Rollback(args) => order::give(args, &Order::RollBackModel),
    }
}

//! `magpie manual`: the man pages and what shells complete, for a package. Made from the same
//! definitions that read the command line, so they cannot say anything else.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap_complete::Shell;

use crate::present::output;
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
pub struct ManualArgs {
    /// The folder to write to; new or empty.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// `program` is the whole command line, with every command.
pub fn manual(args: &ManualArgs, program: clap::Command) -> Outcome {
    output::create_empty_folder(&args.folder)?;
    // What `help` says of a command is what its own page says.
    let without_help = |command: clap::Command| command.disable_help_subcommand(true);
    let program = without_help(program).mut_subcommands(without_help);
    let written = write(program, &args.folder);
    written.with_context(|| format!("write to {}", args.folder.display())).map_err(Failure::Fault)
}

fn write(mut program: clap::Command, folder: &Path) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut program, "magpie", folder)?;
    }
    clap_mangen::generate_to(program, folder)
}

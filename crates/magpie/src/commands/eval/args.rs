//! What `magpie eval` is asked for on the command line.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// The model; absent: the universal model.
    #[arg(long)]
    pub(super) model: Option<PathBuf>,
    /// COCO annotations. A picture lies where its `file_name` says, or in `images` beside this file,
    /// or is the only one of its name below. May be given again.
    #[arg(long, required_unless_present_any = ["grasps", "empty"])]
    pub(super) dataset: Vec<PathBuf>,
    /// What a name in the labels stands for (`none`: leave these out); may be given again. Absent:
    /// names are those of the types, however they are capitalized.
    #[arg(long, value_name = "NAME=TYPE", value_parser = pair, requires = "dataset")]
    pub(super) map: Vec<(String, String)>,
    /// Leave out labels that cannot be read; absent: they are named, and nothing is scored.
    #[arg(long, requires = "dataset")]
    pub(super) skip_bad_labels: bool,
    /// Judge grasps instead, on a folder that `magpie simulate --solids` wrote.
    #[arg(long, conflicts_with = "dataset")]
    pub(super) grasps: Option<PathBuf>,
    /// Count what is found in pictures without packages, or folders of them: all of it is wrong.
    #[arg(
        long,
        num_args = 1..,
        value_name = "IMAGE",
        conflicts_with_all = ["dataset", "grasps", "scorecard", "class_agnostic"]
    )]
    pub(super) empty: Vec<PathBuf>,
    /// Whose masks the grasps are planned on.
    #[arg(long, value_enum, default_value = "true", requires = "grasps")]
    pub(super) masks: Masks,
    /// Draw where cups would seal, what was chosen and how it was judged into this new or empty
    /// folder.
    #[arg(long, value_name = "FOLDER", requires = "grasps")]
    pub(super) pictures: Option<PathBuf>,
    /// Ignore types: any package found counts for any package labelled.
    #[arg(long)]
    pub(super) class_agnostic: bool,
    /// Score by type, size in the picture, distance, tilt and background as well, and how far
    /// scores can be believed: tables on standard output, and with plots in this new or empty
    /// folder.
    #[arg(long, value_name = "FOLDER")]
    pub(super) scorecard: Option<PathBuf>,
    /// Draw this many pictures of each dataset, those with most missed or wrong, into the scorecard.
    #[arg(long, value_name = "PICTURES", default_value_t = 0, requires = "scorecard")]
    pub(super) worst: usize,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
    /// Configuration for everything else.
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
}

/// `NAME=TYPE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, target) = text.split_once('=').ok_or("NAME=TYPE expected")?;
    Ok((name.to_owned(), target.to_owned()))
}

/// Whose masks the planner is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Masks {
    /// The true ones: what is judged is the planner alone.
    True,
    /// The model's, as in service.
    Model,
}

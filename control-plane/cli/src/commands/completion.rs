//! `weft completion`: the completion script of a shell, made from the definitions of the command line.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot::{Generator, Shell as Script};

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
    output,
};

pub const EXAMPLES: &str = "\
Examples:
  source <(weft completion bash)
  weft completion zsh > ~/.zfunc/_weft
  weft completion fish > ~/.config/fish/completions/weft.fish";

#[derive(Debug, Args)]
pub struct Completion {
    /// The shell that the script is for
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub fn execute(self) -> Result<Exit, Failure> {
        let script = match self.shell {
            Shell::Bash => Script::Bash,
            Shell::Zsh => Script::Zsh,
            Shell::Fish => Script::Fish,
        };
        let mut command = Cli::command();
        command.set_bin_name("weft");
        command.build();
        let mut text = Vec::new();
        script.generate(&command, &mut text);
        output::data(&String::from_utf8_lossy(&text))?;
        Ok(Exit::Done)
    }
}

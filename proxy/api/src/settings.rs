//! How a process is configured at its start: flags before environment before a YAML file, all under the same names.
//!
//! A file sets the default of the flag of the same name, so that clap parses, checks and documents every setting,
//! wherever it was written. Called by the binaries; what the settings mean is theirs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command};

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {file}: {source}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file}: {reason}")]
    Syntax { file: PathBuf, reason: String },
    #[error("{file}: unknown setting {key:?}{}", hint.as_ref().map(|h| format!(", did you mean {h:?}?")).unwrap_or_default())]
    Unknown { file: PathBuf, key: String, hint: Option<String> },
    #[error("{file}: {key}: expected text, a number, true or false, or a list of these")]
    Type { file: PathBuf, key: String },
    #[error(transparent)]
    Flags(#[from] clap::Error),
}

/// Parses the process's own arguments for `command`, whose flag `--settings FILE` (or `WEFT_SETTINGS`) names a file
/// of defaults. Ends the process with a message where they do not parse, as clap does.
pub fn from_process(command: Command) -> ArgMatches {
    parse(command, std::env::args_os().collect()).unwrap_or_else(|error| match error {
        SettingsError::Flags(error) => error.exit(),
        other => {
            eprintln!("error: {other}");
            std::process::exit(2)
        }
    })
}

/// Parses `args` for `command`, with the settings of the file that they name as defaults. A setting is called as its
/// long flag.
pub fn parse(command: Command, args: Vec<OsString>) -> Result<ArgMatches, SettingsError> {
    let command = match settings_file(&args) {
        None => command,
        Some(file) => with_defaults(command, &file)?,
    };
    Ok(command.try_get_matches_from(args)?)
}

/// Looked for before clap parses, since the file changes what clap requires.
fn settings_file(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--settings" {
            return args.next().map(|file| PathBuf::from(file.into_owned()));
        }
        if let Some(file) = arg.strip_prefix("--settings=") {
            return Some(PathBuf::from(file));
        }
    }
    std::env::var_os("WEFT_SETTINGS").map(PathBuf::from)
}

/// The command, with the settings of `file` as the defaults of its flags.
pub fn with_defaults(mut command: Command, file: &Path) -> Result<Command, SettingsError> {
    let text = std::fs::read_to_string(file).map_err(|source| SettingsError::Read { file: file.to_owned(), source })?;
    let settings: serde_json::Map<String, serde_json::Value> = serde_saphyr::from_str(&text)
        .map_err(|e| SettingsError::Syntax { file: file.to_owned(), reason: e.to_string() })?;
    for (key, value) in settings {
        let id = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(key.as_str()))
            .map(|arg| arg.get_id().clone())
            .ok_or_else(|| unknown(&command, file, &key))?;
        let values = texts(&value).ok_or_else(|| SettingsError::Type { file: file.to_owned(), key: key.clone() })?;
        command = command.mut_arg(id, |arg| arg.default_values(values).required(false));
    }
    Ok(command)
}

fn unknown(command: &Command, file: &Path, key: &str) -> SettingsError {
    let nearest = command
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .map(|long| (strsim::jaro_winkler(long, key), long))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.8);
    SettingsError::Unknown {
        file: file.to_owned(),
        key: key.to_owned(),
        hint: nearest.map(|(_, long)| long.to_owned()),
    }
}

fn texts(value: &serde_json::Value) -> Option<Vec<String>> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::Bool(flag) => Some(vec![flag.to_string()]),
        Value::Array(items) => items.iter().map(|item| texts(item)?.pop()).collect(),
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        Command::new("test")
            .arg(Arg::new("grpc_listen").long("grpc-listen").default_value("127.0.0.1:15010"))
            .arg(Arg::new("settings").long("settings"))
            .arg(Arg::new("label").long("label").action(clap::ArgAction::Append))
    }

    fn listen(file: &str, args: &[&str]) -> Result<String, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        std::fs::write(&path, file).unwrap();
        let mut line: Vec<OsString> = vec!["test".into(), "--settings".into(), path.into()];
        line.extend(args.iter().map(Into::into));
        let matches = parse(command(), line)?;
        Ok(matches.get_one::<String>("grpc_listen").unwrap().clone())
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        assert_eq!(listen("{}", &[]).unwrap(), "127.0.0.1:15010");
        assert_eq!(listen("grpc-listen: 0.0.0.0:1", &[]).unwrap(), "0.0.0.0:1");
        assert_eq!(listen("grpc-listen: 0.0.0.0:1", &["--grpc-listen", "[::1]:2"]).unwrap(), "[::1]:2");
    }

    #[test]
    fn an_unknown_setting_is_refused_with_a_hint() {
        let error = listen("grpc-lisen: 0.0.0.0:1", &[]).unwrap_err().to_string();
        assert!(error.contains("grpc-lisen") && error.contains("did you mean \"grpc-listen\""), "{error}");
    }
}

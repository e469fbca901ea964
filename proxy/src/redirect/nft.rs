//! The program nft: finding it, telling it what to do, and what its refusals mean.

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Not on the PATH of every user, and still where nft is.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error(
        "the program nft is neither on PATH nor in /usr/sbin or /sbin: install the package nftables, or use an image \
         that has it"
    )]
    Missing,
    #[error("cannot run {program}: {source}")]
    Run { program: PathBuf, source: io::Error },
    #[error(
        "the capability NET_ADMIN is missing, without which the kernel neither changes nor shows the rules of a network \
         namespace. Kubernetes: an init container with securityContext: {{runAsUser: 0, capabilities: {{add: \
         [NET_ADMIN]}}}}; Docker: docker run --cap-add NET_ADMIN, as root; otherwise: sudo. Only this command needs it, \
         the sidecar does not (nft: {said})"
    )]
    NotPermitted { said: String },
    #[error(
        "the kernel lacks a part of nftables: {modules}. Load it on the host (modprobe), or use a kernel that has it, \
         Linux 5.2 or later (nft: {said})"
    )]
    Kernel { modules: String, said: String },
    #[error("there is no table inet weft in this network namespace: the rules were never set here, or were removed")]
    NoTable,
    #[error("nft refused, and nothing was changed: {said}")]
    Refused { said: String },
}

/// Loads the script as one transaction: all of it takes effect at once, or nothing changes.
pub fn load(script: &str) -> Result<(), NftError> {
    run(&["-f", "-"], script, refusal).map(drop)
}

/// The table as it is loaded, in JSON.
pub fn list() -> Result<String, NftError> {
    run(&["-j", "list", "table", "inet", "weft"], "", |said| match said.contains(NO_ENTRY) {
        true => NftError::NoTable,
        false => refusal(said),
    })
}

fn run(args: &[&str], input: &str, refusal: impl Fn(String) -> NftError) -> Result<String, NftError> {
    let program = find(&std::env::var_os("PATH").unwrap_or_default()).ok_or(NftError::Missing)?;
    let failed = |source| NftError::Run { program: program.clone(), source };
    let mut command = Command::new(&program);
    // Refusals are told apart by their words.
    command.args(args).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        // It may have ended without reading, so that writing failed as well: what it says is the reason.
        return Err(refusal(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    written.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn find(path: &OsStr) -> Option<PathBuf> {
    let folders = std::env::split_paths(path).chain(SYSTEM.map(PathBuf::from));
    folders.map(|folder| folder.join("nft")).find(|program| Path::is_file(program))
}

const NO_ENTRY: &str = "No such file or directory";

/// How the kernel says that it does not know what it was asked for.
const UNKNOWN: [&str; 4] =
    [NO_ENTRY, "Operation not supported", "Protocol not supported", "Address family not supported"];

/// What a line of the script needs, by a word in it. nft repeats the line that was refused.
const NEEDS: [(&str, &str); 3] = [("chain ", "nft_chain_nat"), ("fib ", "nft_fib_inet"), ("redirect ", "nft_redir")];

fn refusal(said: String) -> NftError {
    if said.contains("Operation not permitted") {
        return NftError::NotPermitted { said };
    }
    if !UNKNOWN.iter().any(|words| said.contains(words)) {
        return NftError::Refused { said };
    }
    let needed = NEEDS.iter().filter(|(word, _)| said.contains(word)).map(|(_, module)| *module);
    let modules = match needed.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "nf_tables".to_owned(),
        some => some,
    };
    NftError::Kernel { modules, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_missing() {
        let of = |said: &str| refusal(said.to_owned()).to_string();
        let error = of("netlink: Error: cache initialization failed: Operation not permitted");
        assert!(error.contains("NET_ADMIN") && error.contains("--cap-add NET_ADMIN"), "{error}");
        assert!(error.contains("{runAsUser: 0, capabilities: {add: [NET_ADMIN]}}"), "{error}");

        for (said, module) in [
            ("Unable to initialize Netlink socket: Protocol not supported", "nf_tables."),
            (
                "/dev/stdin:4:11-16: Error: Could not process rule: No such file or directory\n    chain output {\n",
                "nft_chain_nat.",
            ),
            (
                "/dev/stdin:12:9-38: Error: Could not process rule: No such file or directory\n        fib daddr type != \
                 local return comment \"only passes through\"\n",
                "nft_fib_inet.",
            ),
            (
                "/dev/stdin:7:9-44: Error: Could not process rule: No such file or directory\n        meta l4proto tcp \
                 redirect to :15001 comment \"outbound\"\n",
                "nft_redir.",
            ),
        ] {
            let error = of(said);
            assert!(error.contains(&format!("a part of nftables: {module}")) && error.contains(said), "{error}");
        }
        let error = of("/dev/stdin:1:40-44: Error: unknown chain hook");
        assert!(
            error.starts_with("nft refused, and nothing was changed: ") && error.contains("unknown chain"),
            "{error}"
        );
    }

    #[test]
    fn nft_is_looked_for_on_the_path_first() {
        let nowhere = find(OsStr::new("/nonexistent"));
        assert!(nowhere.is_none_or(|program| program.starts_with("/usr/sbin") || program.starts_with("/sbin")));
        let folder = std::env::temp_dir().join(format!("weft-nft-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("nft"), "").unwrap();
        let path = std::env::join_paths([Path::new("/nonexistent"), &folder]).unwrap();
        assert_eq!(find(&path), Some(folder.join("nft")));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(NftError::Missing.to_string().contains("install the package nftables"));
    }
}

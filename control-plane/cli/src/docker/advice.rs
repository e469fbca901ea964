//! What a container's own words tell, and what to do about what was found.

use super::{
    containers::{Container, Role},
    findings::{Finding, Kind},
    names,
};

/// What says why: the last error in the log, or else what the health check has got to hear, or else the last line.
pub fn telling<'a>(log: &'a str, health: Option<&'a str>) -> Option<&'a str> {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    // The sidecar's own program names itself where `weft` says `error:`.
    let is_error = |line: &&str| line.contains("ERROR") || line.contains("error:") || line.starts_with("weft-proxy: ");
    let error = lines().find(is_error);
    error.or(health).or_else(|| lines().next())
}

/// One sentence. `said` is what the container, or the engine for it, has said last.
pub fn advise(finding: &Finding<'_>, said: Option<&str>, containers: &[Container]) -> String {
    let join = join(finding.container, containers);
    let own = said.and_then(|said| by_words(finding.container, said, join));
    own.unwrap_or_else(|| by_kind(finding, join))
}

/// The service of the container's project that gives out tokens.
fn join<'a>(container: &Container, containers: &'a [Container]) -> &'a str {
    let is_it = |other: &&Container| other.role == Some(Role::Join) && other.project == container.project;
    containers.iter().find(is_it).and_then(|join| join.compose_service.as_deref()).unwrap_or(names::JOIN)
}

fn by_words(container: &Container, said: &str, join: &str) -> Option<String> {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["NET_ADMIN is missing"]) {
        return Some(
            "give it the capability: cap_add: [NET_ADMIN] and user: \"0:0\", as `weft docker init` writes it"
                .to_owned(),
        );
    }
    if has(&["lacks a part of nftables"]) {
        return Some("on the host: sudo modprobe -a nf_tables nft_chain_nat nft_redir nft_fib_inet".to_owned());
    }
    if has(&["join token", "trust anchor", "token_used_up", "token_expired", "token_unknown"])
        && container.role == Some(Role::Sidecar)
    {
        let again = compose(container, &format!("up -d --force-recreate {join}"));
        return Some(format!("give it a new token: {again}; then docker restart {}", container.name));
    }
    if has(&["port is already allocated", "address already in use"]) && container.role == Some(Role::Network) {
        let port = host_port(said).map_or_else(|| "the port".to_owned(), |port| format!("port {port}"));
        return Some(format!(
            "{port} of the host is taken: stop who has it (docker ps, ss -ltnp), or publish another one"
        ));
    }
    if has(&["another process has it", "Address already in use"]) && container.role == Some(Role::Sidecar) {
        return Some(
            "the program listens on a port that the sidecar needs (15001, 15006, 15008, 15020, 15053): give it another"
                .to_owned(),
        );
    }
    None
}

fn by_kind(finding: &Finding<'_>, join: &str) -> String {
    let container = finding.container;
    let name = &container.name;
    match finding.kind {
        Kind::Waiting => compose(container, "up -d"),
        Kind::Down | Kind::Unhealthy | Kind::Restarting => {
            format!("see docker logs {name}; then docker restart {name}")
        }
        Kind::Failed => {
            format!("see docker logs {name}; then {}", compose(container, &format!("up -d --force-recreate {join}")))
        }
        Kind::Orphaned => {
            let service = container.compose_service.as_deref().unwrap_or(name);
            compose(container, &format!("up -d --force-recreate {service}"))
        }
        Kind::Outlived => format!("docker restart {name}"),
        Kind::Twice if container.role == Some(Role::ControlPlane) => {
            "let each mesh have networks of its own, or one control plane".to_owned()
        }
        Kind::Twice => {
            "give one of them another name, or its sidecar a label (WEFT_LABEL) if it is a version of the other"
                .to_owned()
        }
        Kind::Starting => "look again in a moment".to_owned(),
        Kind::Outside => "give it a sidecar with `weft docker init`, unless it is meant to stay outside".to_owned(),
    }
}

/// `docker compose … WHAT`, with the files that the container's project was made of.
fn compose(container: &Container, what: &str) -> String {
    let project = container.project.iter().map(|project| format!("-p {project} "));
    let files = container.files.iter().map(|file| format!("-f {file} "));
    format!("docker compose {}{what}", project.chain(files).collect::<String>())
}

/// Of `Bind for 0.0.0.0:8080 failed: port is already allocated`, and of how other engines say it.
fn host_port(said: &str) -> Option<u16> {
    said.split([' ', ','])
        .filter_map(|word| word.trim_end_matches(':').rsplit_once(':'))
        .find_map(|(_, port)| port.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::findings::tests::container;

    #[test]
    fn the_last_error_of_a_log_tells() {
        assert_eq!(telling("a\nerror: b\nc\n\n", Some("not ready")), Some("error: b"));
        let ended = "2026  INFO x\nweft-proxy: the join token is used up\n2026  INFO y";
        assert_eq!(telling(ended, Some("not ready")), Some("weft-proxy: the join token is used up"));
        assert_eq!(telling("2026 ERROR weft: x\n2026  INFO weft: y", None), Some("2026 ERROR weft: x"));
        assert_eq!(telling("a\nb\n", Some("not ready")), Some("not ready"));
        assert_eq!(telling("a\nb\n", None), Some("b"));
        assert_eq!(telling("\n \n", None), None);
    }

    #[test]
    fn known_words_lead_to_what_helps() {
        let rows = [
            (
                Role::Network,
                "error: the redirection is not set: the capability NET_ADMIN is missing, …",
                "cap_add: [NET_ADMIN]",
            ),
            (Role::Network, "error: the kernel lacks a part of nftables: nft_redir.", "modprobe"),
            (
                Role::Sidecar,
                "weft-proxy: the control plane refused to certify this workload: the join token is used up: its 1 uses are spent",
                "docker compose -p shop -f /s/compose.yaml up -d --force-recreate weft-join; then docker restart x",
            ),
            (
                Role::Network,
                "driver failed programming external connectivity on endpoint x (8): Bind for 0.0.0.0:8080 failed: port is already \
                 allocated",
                "port 8080 of the host is taken",
            ),
            (
                Role::Network,
                "failed to listen on TCP socket: listen tcp4 0.0.0.0:8081: bind: address already in use",
                "port 8081 of the host is taken",
            ),
            (
                Role::Sidecar,
                "error: cannot listen on 0.0.0.0:15006 (--inbound-listen): another process has it; choose another port",
                "15006",
            ),
            (Role::Sidecar, "error: something else", "see docker logs x"),
            (Role::Join, "error: join token", "--force-recreate weft-join"),
        ];
        for (role, said, advice) in rows {
            let mut container = container("x", Some(role));
            container.files = vec!["/s/compose.yaml".to_owned()];
            let kind = if role.ends() { Kind::Failed } else { Kind::Unhealthy };
            let finding = Finding { container: &container, kind, reason: String::new() };
            let given = advise(&finding, Some(said), &[]);
            assert!(given.contains(advice), "{said}: {given}");
        }
    }
}

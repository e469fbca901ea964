use super::*;

fn of(args: &[&str]) -> Result<Cli, SettingsError> {
    parse(std::iter::once("weft").chain(args.iter().copied()).map(OsString::from).collect())
}

#[test]
fn the_definitions_hold() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_that_is_shown_teaches_with_an_example() {
    fn visit(command: &clap::Command) {
        let children: Vec<_> = command.get_subcommands().filter(|child| !child.is_hide_set()).collect();
        if children.is_empty() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains("weft"), "{}", command.get_name());
        }
        children.into_iter().for_each(visit);
    }
    visit(&Cli::command());
}

#[test]
fn client_flags_stand_before_or_after_the_command() {
    for args in [["--config", "a.yaml", "-n", "shop", "status"], ["status", "--config", "a.yaml", "-n", "shop"]] {
        let cli = of(&args).unwrap();
        assert_eq!(cli.client.config, Some(PathBuf::from("a.yaml")));
        assert_eq!(cli.client.namespace(), "shop");
    }
}

#[test]
fn the_program_of_run_keeps_its_own_flags() {
    let cli = of(&["run", "--service", "orders", "--port", "8080", "--", "app", "--port", "1", "-n"]).unwrap();
    let Command::Run(run) = cli.command else { panic!("run") };
    assert_eq!(run.command, ["app", "--port", "1", "-n"]);
    assert_eq!(run.port, 8080);
}

#[test]
fn wrong_usage_is_refused() {
    for args in [
        &["run", "--service", "orders", "--port", "8080"][..],
        &["run", "--service", "orders", "--", "app"],
        &["run", "--service", "orders", "--port", "8080", "--label", "noequals", "--", "app"],
        &["run", "--service", "Orders", "--port", "8080", "--", "app"],
        &["apply"],
        &["delete"],
        &["delete", "HTTPRoute", "a", "-f", "b.yaml"],
        &["get", "--output", "xml"],
        &["rollback", "minus-one"],
        &["nonsense"],
        &["control-plane"],
    ] {
        assert!(matches!(of(args), Err(ParseError::Flags(_))), "{args:?}");
    }
}

#[test]
fn a_settings_file_gives_a_daemon_its_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, "data-dir: /d\ngrpc-listen: 127.0.0.1:1\n").unwrap();
    let file = file.to_str().unwrap();
    let cli = of(&["control-plane", "--settings", file, "--grpc-listen", "127.0.0.1:2"]).unwrap();
    let Command::ControlPlane(config) = cli.command else { panic!("control-plane") };
    assert_eq!(config.data_dir, PathBuf::from("/d"));
    assert_eq!(config.grpc_listen.to_string(), "127.0.0.1:2");

    std::fs::write(file, "servce: orders\n").unwrap();
    let error = of(&["proxy", "--settings", file]).unwrap_err().to_string();
    assert!(error.contains("did you mean \"service\""), "{error}");
}

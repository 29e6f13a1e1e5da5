//! Examples in the documentation, executed.

use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portsentry_testbed::{Testbed, require_root, wait_until};

use crate::generated::{output, project};
use crate::watch::{Watch, text};

/// Returns the code blocks of a page in `language`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(project(page)).expect("page");
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn documented_configurations_are_valid() {
    let folder = tempfile::tempdir().expect("folder");
    let ignore = folder.path().join("ignore").display().to_string();
    fs::write(&ignore, "").expect("write");
    let pages = ["docs/use-cases.md", "docs/responses.md"];
    let pages = pages.iter().flat_map(|page| blocks(page, "conf"));
    let examples: Vec<String> = pages.chain(blocks("README.md", "conf")).collect();
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let ports = if example.contains("TCP_PORTS") { "" } else { "TCP_PORTS = \"1\"\n" };
        let example = example.replace("/etc/portsentry/portsentry.ignore", &ignore);
        let path = folder.path().join("portsentry.conf");
        fs::write(&path, format!("{ports}{example}")).expect("write");
        output(Command::new(env!("CARGO_BIN_EXE_portsentry")).arg("check").arg("-c").arg(&path));
    }
}

/// Each documented `KILL_ROUTE` blocks a host, in both address families.
#[test]
fn documented_responses_block_a_source() {
    let Some(root) = require_root() else { return };
    let examples = blocks("docs/responses.md", "conf");
    let commands: Vec<&str> = examples
        .iter()
        .flat_map(|it| it.lines())
        .filter(|it| it.starts_with("KILL_ROUTE"))
        .collect();
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        let bed = Testbed::new(root);
        let sets = project("packaging/nftables/portsentry.nft").display().to_string();
        // Loaded twice, because loading it again must not fail.
        bed.host.run("nft", &["-f", &sets]);
        let watch = Watch::start(&bed, &format!("BLOCK_UDP = \"1\"\n{command}\n"), &[]);
        for (source, target) in [
            (IpAddr::from(bed.scanner.v4()), IpAddr::from(bed.host.v4())),
            (bed.scanner.v6().into(), bed.host.v6().into()),
        ] {
            let _service = bed.host.enter(|| TcpListener::bind((target, 22))).expect("listen");
            let connects = || {
                let limit = Duration::from_millis(300);
                bed.scanner
                    .enter(|| TcpStream::connect_timeout(&(target, 22).into(), limit))
                    .is_ok()
            };
            assert!(connects(), "{command}: {source} before the probe");
            watch.probe_from(source, 1_000..=1_000);
            let from = format!("Scan from: [{source}]");
            wait_until("the probe is logged", || text(&watch.path("history")).contains(&from));
            let history = text(&watch.path("history"));
            assert!(history.lines().all(|line| line.ends_with("blocked: [true]")), "{history}");
            bed.host.run("nft", &["-f", &sets]);
            assert!(!connects(), "{command}: {source} after the probe");
        }
    }
}

/// Collects the text of every source file of the project.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, text);
        } else if name.ends_with(".rs") {
            *text += &fs::read_to_string(&path).expect("source");
        }
    }
}

/// Every promise in the documents names the tests that prove it.
#[test]
fn tests_named_in_documents_exist() {
    let mut text = String::new();
    sources(&project("."), &mut text);
    let targets = project("fuzz/fuzz_targets");
    let mut named = 0;
    for page in ["SECURITY.md", "docs/security.md"] {
        let page_text = fs::read_to_string(project(page)).expect("page");
        // Every second piece is between two backquotes.
        for word in page_text.split('`').skip(1).step_by(2) {
            let is_name = word.trim_matches('_').contains('_')
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte));
            if !is_name {
                continue;
            }
            named += 1;
            let is_target = targets.join(word).with_extension("rs").exists();
            assert!(is_target || text.contains(&format!("fn {word}(")), "{page}: {word}");
        }
    }
    assert!(named > 60, "only {named} tests are named");
}

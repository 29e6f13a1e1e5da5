//! Checks of keys against the program that uses them.

use portsentry_config::{
    Configuration, LoadError, Overrides, Responses, Rings, Source, Style, load,
};

use crate::Place;

fn load_with_rings(rings: Rings) -> Result<Configuration, String> {
    let place = Place::new();
    place.file("c", "TCP_PORTS = \"1\"\nCAPTURE_RINGS = \"4\"\n");
    let loaded = load(&Source::file("c"), Overrides::default().with_rings(rings), place.path());
    let directory = format!("{}/", place.path().display());
    loaded.map_err(|error| error.render(Style::Plain).replace(&directory, ""))
}

#[test]
fn several_rings_are_marked_where_the_method_has_one() {
    let expected = "\
c:2:18: error: 4 rings need the method raw; start with `-m raw`, or remove `CAPTURE_RINGS`
    CAPTURE_RINGS = \"4\"
                     ^
";
    assert_eq!(load_with_rings(Rings::NeedRaw).unwrap_err(), expected);
    assert!(load_with_rings(Rings::Supported).unwrap().warnings.is_empty());
}

#[test]
fn several_rings_are_a_warning_for_a_program_that_has_one() {
    let configuration = load_with_rings(Rings::NotBuilt).unwrap();
    let warnings: Vec<String> =
        configuration.warnings.iter().map(|warning| warning.cause.to_string()).collect();
    let expected =
        "using one ring instead of 4: this program was built without the feature `rings`";
    assert_eq!(warnings, [expected]);
}

#[test]
fn an_embedding_program_needs_no_actions_of_the_file() {
    let place = Place::new();
    place.file("c", "TCP_PORTS=\"1\"\nBLOCK_TCP=\"1\"\nBLOCK_UDP=\"2\"\n");
    let source = Source::file("c");
    let Err(LoadError::Invalid(findings)) = load(&source, Overrides::default(), place.path())
    else {
        panic!("not refused");
    };
    assert_eq!(findings.iter().count(), 2, "{findings}");
    let source = source.with_responses(Responses::Embedder);
    let configuration = load(&source, Overrides::default(), place.path()).unwrap();
    assert!(configuration.warnings.is_empty());

    // An invalid action is an error all the same.
    place.file("c", "TCP_PORTS=\"1\"\nBLOCK_TCP=\"1\"\nKILL_ROUTE=\"no target\"\n");
    assert!(load(&source, Overrides::default(), place.path()).is_err());
}

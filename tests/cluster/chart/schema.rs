//! Values: what the chart refuses, and that it renders the same each time.

use std::process::Command;

use super::{chart, helm, object, objects, template};

/// Values of every part that a release may be without.
const EVERYTHING: [&str; 12] = [
    "--set=prometheusRule.enabled=true",
    "--set=dashboards.enabled=true",
    "--set=metrics.monitor.enabled=true",
    "--set=metrics.monitor.kind=ServiceMonitor",
    "--set=sidecarRbac.namespaces={shop,stock}",
    "--set=networkPolicy.apiServerPorts={6443}",
    "--set=clientCertificates.configMap=api-server-ca",
    "--set=controlPlane.trustAnchors.configMap=anchors",
    "--set=controlPlane.sentryAddress=sentry:443",
    "--set=imagePullSecrets[0].name=registry",
    "--set=hostNetwork=true",
    "--set=priorityClassName=high",
];

/// Runs `helm lint --strict` with values; its output where it refuses.
fn lint(values: &[&str]) -> Result<(), String> {
    let chart = chart();
    let mut arguments = vec!["lint", "--strict", &chart, super::KUBE_VERSION];
    arguments.extend(values);
    let output = helm(&arguments);
    let text = [output.stdout, output.stderr].concat();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8(text).unwrap())
    }
}

#[test]
fn lint_finds_nothing() {
    for values in [&[][..], &EVERYTHING] {
        assert_eq!(lint(values), Ok(()));
    }
}

#[test]
fn renders_the_same_each_time() {
    for mode in ["self", "certManager", "provided"] {
        let mode = format!("--set=certificate.mode={mode}");
        let mut values = vec![mode.as_str(), "--set=certificate.provided.secretName=own"];
        values.extend(EVERYTHING);
        let rendered = template(&values);
        assert_eq!(rendered, template(&values));
        assert!(!rendered.contains("PRIVATE KEY") && !rendered.contains("caBundle:"));
    }
}

#[test]
fn refuses_wrong_values_and_says_which() {
    for (value, expected) in [
        (
            "replica=3",
            "at '': additional properties 'replica' not allowed",
        ),
        ("replicas=two", "at '/replicas': got string, want integer"),
        (
            "image.name=x",
            "at '/image': additional properties 'name' not allowed",
        ),
        ("port=70000", "at '/port': maximum: got 70,000, want 65,535"),
        (
            "certificate.mode=manual",
            "at '/certificate/mode': value must be one of 'self', 'certManager', 'provided'",
        ),
        (
            "certificate.mode=provided",
            "at '/certificate/provided/secretName': minLength",
        ),
        (
            "certificate.self.caLifetime=1y",
            "at '/certificate/self/caLifetime': '1y' does not",
        ),
        (
            "webhook.failurePolicy=Never",
            "at '/webhook/failurePolicy': value must be one of",
        ),
        (
            "webhook.timeoutSeconds=0",
            "at '/webhook/timeoutSeconds': minimum: got 0, want 1",
        ),
        (
            "webhook.namespaceSelector.app=shop",
            "at '/webhook/namespaceSelector': additional properties 'app' not allowed",
        ),
        (
            "allowedServiceAccounts={builder}",
            "at '/allowedServiceAccounts/0': 'builder' does",
        ),
        (
            "sidecar.native=yes",
            "at '/sidecar/native': value must be one of 'auto', 'on', 'off'",
        ),
        (
            "imagePullSecrets={registry}",
            "at '/imagePullSecrets/0': got string, want object",
        ),
        (
            "advice.enabled=no",
            "at '/advice/enabled': got string, want boolean",
        ),
        (
            "tolerations[0].operator=Is",
            "at '/tolerations/0/operator': value must be one of",
        ),
        (
            "sidecarRbac.namespaces={a,a}",
            "at '/sidecarRbac/namespaces': items at 0 and 1 are",
        ),
    ] {
        let refused = lint(&["--set", value]).expect_err(value);
        assert!(refused.contains(expected), "{value}: {refused}");
    }
}

#[test]
fn the_image_of_sidecars_is_the_injectors_unless_named() {
    let images = |values: &[&str]| {
        let objects = objects(values);
        let injector = object(&objects, "Deployment", "sidegate-injector");
        let container = &injector["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().unwrap().iter();
        let sidecar = arguments
            .filter_map(|argument| argument.as_str()?.strip_prefix("--sidecar-image="))
            .collect::<Vec<_>>()
            .concat();
        (container["image"].as_str().unwrap().to_owned(), sidecar)
    };
    let version = env!("CARGO_PKG_VERSION");
    let same = |image: &str| (image.to_owned(), image.to_owned());
    assert_eq!(images(&[]), same(&format!("sidegate:{version}")));
    let registry = "--set=image.registry=registry.example:5000,image.repository=a/sidegate";
    let tag = "--set-string=image.tag=2";
    assert_eq!(
        images(&[registry, tag]),
        same("registry.example:5000/a/sidegate:2")
    );
    let digest = format!("--set=image.digest=sha256:{}", "a".repeat(64));
    let pinned = format!("sidegate@sha256:{}", "a".repeat(64));
    assert_eq!(images(&[tag, &digest]), same(&pinned));
    let other = "--set=sidecar.image.repository=b/sidecar";
    assert_eq!(images(&[tag, other]).1, format!("b/sidecar:{version}"));
}

/// The program reads every argument before it comes to `--help`.
#[test]
fn the_program_takes_the_arguments_of_every_mode() {
    let more = [
        "--set=allowedServiceAccounts={ci:builder,tools:*}",
        "--set=sidecar.ignoreEntrypointTolerations[0].key=virtual-node",
        "--set=controlPlane.namespace=dapr-system,controlPlane.address=api:443",
        "--set=sidecar.runAsUser=1000,workerThreads=4,listenAddress=::",
        "--set=certificate.provided.secretName=own",
    ];
    for mode in ["self", "certManager", "provided"] {
        let mode = format!("--set=certificate.mode={mode}");
        let objects = objects(&[&[mode.as_str()], &more[..], &EVERYTHING].concat());
        let injector = object(&objects, "Deployment", "sidegate-injector");
        let arguments = &injector["spec"]["template"]["spec"]["containers"][0]["args"];
        let arguments: Vec<String> = serde_json::from_value(arguments.clone()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(arguments)
            .arg("--help")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode}: {error}");
    }
}

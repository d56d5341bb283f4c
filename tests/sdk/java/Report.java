import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;

/** Tells the outcome of the steps of the common script, one line each, in $SDK_RESULTS. */
final class Report {
    /** What has to end without an exception. */
    interface Case {
        void run() throws Exception;
    }

    /** A step: what it does, nothing where the SDK has none; and what there is to say of it. */
    record Step(Case body, String note) {
        static Step of(Case body) {
            return new Step(body, "");
        }

        static Step lacking(String why) {
            return new Step(null, why);
        }
    }

    private boolean failed;

    /** Takes all steps in their order, each by what the map has. */
    void take(String protocol, Map<String, Step> steps) throws IOException {
        List<String> lines = Files.readAllLines(Path.of(System.getenv("SDK_STEPS")));
        lines.removeIf(line -> line.isBlank() || line.startsWith("#"));
        check(steps.size() == lines.size() && lines.containsAll(steps.keySet()),
            "other steps are known here: %s", steps.keySet());
        for (String name : lines) {
            Step step = steps.get(name);
            String outcome = "LACKS";
            if (step.body() != null) {
                outcome = passes(step.body()) ? "PASS" : "FAIL";
            }
            String note = step.note().isEmpty() ? "" : " | " + step.note();
            tell(outcome + " java/" + protocol + " " + name + note);
        }
    }

    private boolean passes(Case body) {
        try {
            body.run();
            return true;
        } catch (Exception | AssertionError error) {
            error.printStackTrace();
            failed = true;
            return false;
        }
    }

    private static void tell(String line) throws IOException {
        Path results = Path.of(System.getenv("SDK_RESULTS"));
        Files.writeString(
            results, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    /** The exit code of the program. */
    int exitCode() {
        return failed ? 1 : 0;
    }

    static void check(boolean holds, String form, Object... values) {
        if (!holds) {
            throw new AssertionError(form.formatted(values));
        }
    }
}

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Tells the outcome of cases, one line each, in the file $SDK_RESULTS. */
final class Report {
    /** A case: what has to end without an exception. */
    interface Case {
        void run() throws Exception;
    }

    private boolean failed;

    /** Runs a case now. */
    void run(String name, Case body) throws Exception {
        String outcome = "PASS";
        try {
            body.run();
        } catch (Exception | AssertionError error) {
            error.printStackTrace();
            outcome = "FAIL";
            failed = true;
        }
        Path results = Path.of(System.getenv("SDK_RESULTS"));
        String line = outcome + " java " + name + "\n";
        Files.writeString(results, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
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

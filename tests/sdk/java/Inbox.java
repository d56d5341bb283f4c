import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What arrived, by where it arrived. */
final class Inbox {
    /** What is published to see whether a subscription is there. */
    static final ByteString WARM_UP = ByteString.copyFromUtf8("warm-up");

    /** What an application is told of a message. */
    record Event(String source, String type, String contentType, ByteString data) {
        @Override
        public String toString() {
            return type + " of " + source + ", " + contentType + ": " + data.toStringUtf8();
        }
    }

    private final Map<String, List<Event>> all = new HashMap<>();
    private final Map<String, List<Event>> expected = new HashMap<>();

    /** The number of what arrived there, from 1; 0 if it was sent to see whether it arrives. */
    synchronized int put(String where, Event event) {
        boolean isWarmUp = event.data().equals(WARM_UP);
        String there = isWarmUp ? warmUpOf(where) : where;
        all.computeIfAbsent(there, none -> new ArrayList<>()).add(event);
        notifyAll();
        return isWarmUp ? 0 : all.get(there).size();
    }

    synchronized List<Event> at(String where) {
        return List.copyOf(all.getOrDefault(where, List.of()));
    }

    /** Whether so many arrive there within a number of milliseconds. */
    synchronized boolean await(String where, int number, long millis) throws InterruptedException {
        long end = System.nanoTime() + millis * 1_000_000;
        while (at(where).size() < number) {
            long left = (end - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                return false;
            }
            wait(left);
        }
        return true;
    }

    /** Throws where not exactly these arrive there beside what did before, in any order. */
    void got(String where, List<Event> events) throws InterruptedException {
        List<Event> all = expected.computeIfAbsent(where, none -> new ArrayList<>());
        all.addAll(events);
        await(where, all.size(), 60_000);
        List<Event> arrived = at(where);
        List<Event> left = new ArrayList<>(arrived);
        boolean isAll = all.stream().allMatch(left::remove);
        Report.check(isAll && left.isEmpty(), "%s, not %s", arrived, all);
    }

    synchronized void gotNothingElse() {
        all.forEach((where, events) -> {
            if (!where.equals("tick") && !where.startsWith(warmUpOf(""))) {
                int number = expected.getOrDefault(where, List.of()).size();
                Report.check(events.size() == number, "%s: %s", where, events);
            }
        });
    }

    static String warmUpOf(String where) {
        return "warm-up of " + where;
    }
}

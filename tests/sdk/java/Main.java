import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * Runs the conformance scenario through the classic Java product SDK, aliyun-java-sdk-live.
 *
 * <p>usage: Main EMULATOR_URL ADMIN_URL SCENARIO V1-JSON|V1-XML|V3
 */
public final class Main {
    /** A result that differs from the expectation of the step. */
    @SuppressWarnings("serial")
    static final class Mismatch extends Exception {
        Mismatch(String message) {
            super(message);
        }
    }

    record Key(String id, String secret, String token) {}

    record ApiError(String code, int status, Integer retryAfterMs) {}

    record Step(
            String name,
            String operation,
            JsonObject params,
            String key,
            JsonObject put,
            Integer timeoutMs,
            JsonObject ok,
            ApiError error,
            boolean lost,
            Map<String, String> save,
            long atLeastMs) {}

    record Scenario(Map<String, Key> keys, Step[] steps) {}

    private static final HttpClient ADMIN = HttpClient.newHttpClient();

    private final String admin;
    private final Map<String, Sdk> clients = new HashMap<>();
    private final Map<String, JsonElement> saved = new HashMap<>();

    private Main(String url, String admin, Sdk.Mode mode, Map<String, Key> keys) {
        this.admin = admin;
        keys.forEach((name, key) -> clients.put(name, new Sdk(url, mode, key)));
    }

    public static void main(String[] args) throws IOException {
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8));
        Sdk.Mode mode = Sdk.Mode.named(args[3]);
        Scenario scenario = new Gson().fromJson(Files.readString(Path.of(args[2])), Scenario.class);
        Main main = new Main(args[0], args[1], mode, scenario.keys());
        int failed = 0;
        for (Step step : scenario.steps()) {
            try {
                main.run(step);
                System.out.println("ok " + step.name());
            } catch (Exception failure) { // a failed step must not skip the others
                failed++;
                Object reason = failure instanceof Mismatch ? failure.getMessage() : failure;
                System.out.println("FAIL " + step.name() + ": " + brief(reason));
            }
        }
        System.out.printf("conformance com.aliyun:aliyun-java-sdk-live %s, %s: %d steps, %d failed%n",
                Sdk.version(), mode.name, scenario.steps().length, failed);
        System.exit(failed > 0 ? 1 : 0);
    }

    private void run(Step step) throws Exception {
        if (step.put() != null) {
            for (Map.Entry<String, JsonElement> one : step.put().entrySet()) {
                put(admin + one.getKey(), one.getValue());
            }
        }
        Sdk sdk = clients.get(step.key() == null ? "main" : step.key());
        JsonObject params = resolve(step.params()).getAsJsonObject();
        int timeoutMs = step.timeoutMs() == null ? 10_000 : step.timeoutMs();
        long started = System.nanoTime();
        Sdk.Result result = sdk.call(step.operation(), params, timeoutMs);
        long tookMs = Duration.ofNanos(System.nanoTime() - started).toMillis();
        check(step, result, sdk);
        if (tookMs < step.atLeastMs()) {
            throw new Mismatch("the call took " + tookMs + " ms, less than " + step.atLeastMs() + " ms");
        }
    }

    private void check(Step step, Sdk.Result result, Sdk sdk) throws Exception {
        if (step.error() != null) {
            if (!step.error().equals(result.error())) {
                throw new Mismatch("expected " + step.error() + ", got " + brief(result));
            }
        } else if (step.lost()) {
            boolean hasFields = result.response() != null && !isEmpty(result.response().get("RequestId"));
            if (result.error() != null || hasFields) {
                throw new Mismatch("expected no response, got " + brief(result));
            }
        } else if (result.response() == null) {
            throw new Mismatch("expected a response, got " + brief(result));
        } else {
            JsonObject expected = sdk.mode().readable(resolve(step.ok())).getAsJsonObject();
            if (isEmpty(result.response().get("RequestId"))) {
                throw new Mismatch("the response has no RequestId");
            }
            match("response", expected, result.response());
            if (step.save() != null) {
                step.save().forEach((name, field) -> saved.put(name, result.response().get(field)));
            }
        }
    }

    /** Replaces `$name` with the value that an earlier step saved. */
    private JsonElement resolve(JsonElement value) {
        if (value instanceof JsonObject object) {
            JsonObject fields = new JsonObject();
            object.entrySet().forEach(field -> fields.add(field.getKey(), resolve(field.getValue())));
            return fields;
        }
        if (value instanceof JsonArray array) {
            JsonArray list = new JsonArray();
            array.forEach(entry -> list.add(resolve(entry)));
            return list;
        }
        boolean isName = value instanceof JsonPrimitive text && text.isString() && text.getAsString().startsWith("$");
        return isName ? saved.getOrDefault(value.getAsString().substring(1), value) : value;
    }

    /** Compares a value with its expectation; see README.md for the notation. */
    private static void match(String path, JsonElement expected, JsonElement got) throws Mismatch {
        boolean matches;
        if (expected.isJsonNull()) {
            matches = isEmpty(got);
        } else if (expected instanceof JsonObject fields) {
            if (fields.has("$any")) {
                matches = !isEmpty(got);
            } else if (fields.has("$count")) {
                matches = got instanceof JsonArray list && list.size() == fields.get("$count").getAsInt();
            } else {
                matches = got instanceof JsonObject;
                if (matches) {
                    for (Map.Entry<String, JsonElement> field : fields.entrySet()) {
                        match(path + "." + field.getKey(), field.getValue(), got.getAsJsonObject().get(field.getKey()));
                    }
                }
            }
        } else if (expected instanceof JsonArray entries) {
            matches = got instanceof JsonArray list && list.size() == entries.size();
            for (int at = 0; matches && at < entries.size(); at++) {
                match(path + "[" + at + "]", entries.get(at), got.getAsJsonArray().get(at));
            }
        } else {
            matches = expected.equals(got);
        }
        if (!matches) {
            throw new Mismatch(path + ": expected " + brief(expected) + ", got " + brief(got));
        }
    }

    private static boolean isEmpty(JsonElement value) {
        if (value == null || value instanceof JsonNull) {
            return true;
        }
        if (value instanceof JsonPrimitive primitive) {
            return primitive.isString() ? primitive.getAsString().isEmpty()
                    : primitive.isBoolean() ? !primitive.getAsBoolean() : primitive.getAsDouble() == 0;
        }
        return value instanceof JsonArray list && list.isEmpty();
    }

    private static void put(String url, JsonElement body) throws IOException, InterruptedException, Mismatch {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(10))
                .PUT(HttpRequest.BodyPublishers.ofString(body.toString())).build();
        int status = ADMIN.send(request, HttpResponse.BodyHandlers.discarding()).statusCode();
        if (status != 200) {
            throw new Mismatch("PUT " + url + ": " + status);
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() > 400 ? text.substring(0, 400) + "…" : text;
    }
}

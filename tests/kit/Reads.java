import java.io.File;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/** For each archive listed in a file: `ok` where every member is signed and as signed, by whomever; else why not. */
public class Reads {
    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            System.out.println(judged(new File(line)));
        }
    }

    static String judged(File file) {
        byte[] buffer = new byte[8192];
        String answer = "ok";
        try (JarFile jar = new JarFile(file, true)) {
            for (JarEntry entry : Collections.list(jar.entries())) {
                try (InputStream data = jar.getInputStream(entry)) {
                    while (data.read(buffer) >= 0) {
                    }
                }
                String name = entry.getName();
                boolean own = name.startsWith("META-INF/") && name.matches("META-INF/[^/]*\\.(SF|EC|RSA|DSA|MF)");
                if (!entry.isDirectory() && !own && entry.getCodeSigners() == null) {
                    answer = "unsigned " + name;
                }
            }
        } catch (Throwable cause) {
            answer = "error " + cause.getClass().getSimpleName();
        }
        return answer;
    }
}

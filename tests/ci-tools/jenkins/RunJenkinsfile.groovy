/*
 * Runs a declarative Jenkinsfile on jenkins-pipeline-unit, with `sh` steps that truly run.
 *
 *     java … groovy.ui.GroovyMain RunJenkinsfile.groovy JENKINSFILE BUILD.json RESULT.json
 *
 * Version 1.1 of jenkins-pipeline-unit knows scripted pipelines; the declarative directives that
 * `rondel ci generate` writes are evaluated here, in the order that Jenkins documents
 * (https://www.jenkins.io/doc/book/pipeline/syntax/). A directive or step that is not registered
 * fails the build, as it does in Jenkins.
 *
 * BUILD.json: causes (list of class names), changes (paths of the change set, null: the first build),
 * environment, credentials (by ID), approver (null: nobody answers an input), archive (folder).
 */
import com.lesfurets.jenkins.unit.BasePipelineTest
import groovy.json.JsonOutput
import groovy.json.JsonSlurper

import java.nio.file.Files
import java.nio.file.Paths
import java.util.concurrent.TimeUnit

class Aborted extends RuntimeException {
    Aborted(String message) { super(message) }
}

/** What the directives of one stage, or of the pipeline, hold. */
class Frame {
    String name
    Closure when, steps, post, stages
    Map environment = [:]
    Map input = null
    Long seconds = null
    List conditions = []
    boolean beforeInput = false
    List<String> locks = []
}

/** A delegate that takes `NAME = value` of an environment directive. */
class Assignments {
    Map values
    Closure credentials
    void setProperty(String name, Object value) { values[name] = value.toString() }
    Object invokeMethod(String name, Object arguments) {
        if (name == 'credentials') { return credentials.call(arguments[0]) }
        throw new MissingMethodException(name, Assignments, arguments as Object[])
    }
}

class Build extends BasePipelineTest {
    Map given
    Map result = [result: 'SUCCESS', stages: [], commands: [], archived: [], junit: null, description: null]
    Map environment = [:]
    Map currentBuild = [:]
    List<Frame> frames = []
    List<List> groups = []
    File workspace = new File('.').canonicalFile

    Frame getTop() { frames.last() }

    void start(File jenkinsfile) {
        scriptRoots = [jenkinsfile.parent] as String[]
        scriptExtension = ''
        setUp()
        environment.putAll(given.environment)
        currentBuild.previousBuild = given.changes == null ? null : [result: 'SUCCESS']
        binding.setVariable('currentBuild', currentBuild)
        binding.setVariable('env', environment)
        binding.setVariable('any', 'any')
        binding.setVariable('none', 'none')
        directives()
        conditions()
        steps()
        try {
            runScript(jenkinsfile.name)
        } catch (Aborted aborted) {
            fail('ABORTED', aborted)
        } catch (Throwable error) {
            fail('FAILURE', error)
        }
        result.description = currentBuild.description
    }

    void fail(String state, Throwable error) {
        result.result = state
        result.error = error.toString()
        System.err.println("ERROR: ${error}")
        if (!(error instanceof Aborted || error.message?.startsWith('script returned'))) { error.printStackTrace() }
    }

    void allow(String name, List types, Closure body) { helper.registerAllowedMethod(name, types, body) }

    void directives() {
        allow('pipeline', [Closure]) { Closure body ->
            frames << new Frame(name: 'pipeline')
            body()
            Frame frame = frames.pop()
            environment.putAll(frame.environment)
            Throwable failure = attempt { frame.stages() }
            afterwards(frame, failure)
            if (failure) { throw failure }
        }
        allow('agent', [String]) { }
        allow('agent', [Closure]) { Closure body -> body() }
        allow('docker', [Closure]) { Closure body -> body() }
        allow('image', [Object]) { Object image -> result.image = image.toString() }
        allow('stages', [Closure]) { Closure body -> top.stages = body }
        allow('steps', [Closure]) { Closure body -> top.steps = body }
        allow('post', [Closure]) { Closure body -> top.post = body }
        allow('when', [Closure]) { Closure body -> top.when = body }
        allow('options', [Closure]) { Closure body -> body() }
        allow('triggers', [Closure]) { Closure body -> body() }
        allow('cron', [String]) { String line -> result.cron = line }
        allow('disableConcurrentBuilds', []) { result.concurrent = 'wait' }
        allow('disableConcurrentBuilds', [Map]) { Map how -> result.concurrent = 'abort previous' }
        allow('logRotator', [Map]) { Map how -> how }
        allow('buildDiscarder', [Object]) { Object how -> result.kept = how }
        allow('timeout', [Map]) { Map how -> top.seconds = TimeUnit.valueOf(how.unit).toSeconds(how.time as long) }
        allow('lock', [Map]) { Map how -> top.locks << how.resource }
        allow('environment', [Closure]) { Closure body ->
            body.delegate = new Assignments(values: top.environment, credentials: { String id ->
                if (!given.credentials.containsKey(id)) { throw new IllegalStateException("no credentials ${id}") }
                given.credentials[id]
            })
            body.resolveStrategy = Closure.DELEGATE_FIRST
            body()
        }
        allow('input', [Closure]) { Closure body ->
            top.input = [:]
            body()
        }
        allow('message', [String]) { String text -> top.input.message = text }
        allow('submitterParameter', [String]) { String name -> top.input.submitterParameter = name }
        allow('stage', [String, Closure]) { String name, Closure body -> stage(name, body) }
        ['always', 'success', 'failure', 'unstable', 'aborted', 'cleanup'].each { name ->
            allow(name, [Closure]) { Closure body ->
                if (name == 'always' || name == 'cleanup' || name == result.result.toLowerCase()) { body() }
            }
        }
        allow('script', [Closure]) { Closure body -> body() }
    }

    void stage(String name, Closure body) {
        frames << new Frame(name: name)
        Throwable failure = null
        boolean skipped = false
        try {
            body()
            failure = attempt { skipped = !runs(top) }
        } finally {
            result.stages << [name: name, state: skipped ? 'skipped' : failure ? 'failed' : 'ran', locks: top.locks]
            Frame frame = top
            try {
                if (!skipped) { afterwards(frame, failure) }
            } finally {
                frames.pop()
            }
        }
        if (failure) { throw failure }
    }

    /** Whether the stage ran; first its input, unless `beforeInput`, then its conditions. */
    boolean runs(Frame frame) {
        System.err.println("[Pipeline] stage ${frame.name}")
        boolean wanted = true
        if (frame.when) {
            groups << []
            frame.when()
            wanted = groups.pop().every { it }
        }
        if (!wanted && (frame.beforeInput || !frame.input)) { return false }
        if (frame.input != null) {
            if (!given.approver) { throw new Aborted("nobody answered: ${frame.input.message}") }
            result.asked = frame.input.message
            if (frame.input.submitterParameter) { frame.environment[frame.input.submitterParameter] = given.approver }
        }
        if (!wanted) { return false }
        frame.steps()
        return true
    }

    void afterwards(Frame frame, Throwable failure) {
        String before = result.result
        if (failure) { result.result = failure instanceof Aborted ? 'ABORTED' : 'FAILURE' }
        if (frame.post) { frame.post() }
        if (!failure && result.result == 'FAILURE') { result.result = before }
    }

    Throwable attempt(Closure work) {
        try {
            work()
            return null
        } catch (Throwable error) {
            return error
        }
    }

    void conditions() {
        allow('beforeInput', [Boolean]) { Boolean value -> top.beforeInput = value }
        allow('triggeredBy', [String]) { String cause -> groups.last() << (cause in given.causes) }
        allow('expression', [Closure]) { Closure body -> groups.last() << (body() as boolean) }
        allow('changeset', [String]) { String pattern ->
            groups.last() << (given.changes ?: []).any { it ==~ ant(pattern) }
        }
        [anyOf: { List all -> all.any { it } }, allOf: { List all -> all.every { it } }].each { name, decide ->
            allow(name, [Closure]) { Closure body ->
                groups << []
                body()
                List inner = groups.pop()
                groups.last() << decide(inner)
            }
        }
    }

    /** Ant's pattern as a regular expression: `**` is any number of folders, also none. */
    static String ant(String pattern) {
        def parts = pattern.split('/').collect { part ->
            part == '**' ? null : part.split(/\*/, -1).collect { java.util.regex.Pattern.quote(it) }.join('[^/]*')
        }
        String text = ''
        parts.eachWithIndex { part, i ->
            boolean last = i == parts.size() - 1
            text += part == null ? (last ? '.*' : '(?:[^/]+/)*') : (last ? part : "${part}/")
        }
        return text
    }

    void steps() {
        allow('sh', [String]) { String command -> sh(command) }
        allow('echo', [String]) { String text -> println(text) }
        allow('fileExists', [String]) { String path -> new File(workspace, path).exists() }
        allow('readFile', [String]) { String path -> new File(workspace, path).getText('UTF-8') }
        allow('junit', [Map]) { Map how -> junit(how) }
        allow('archiveArtifacts', [Map]) { Map how -> archive(how) }
    }

    /** As Jenkins does it: the script in a file, `sh -xe`, and an exit code other than 0 fails the build. */
    void sh(String command) {
        File script = File.createTempFile('script', '.sh')
        script.text = command
        ProcessBuilder builder = new ProcessBuilder('/bin/sh', '-xe', script.path)
        builder.directory(workspace).inheritIO()
        (environment + frames.collectEntries { it.environment }).each { name, value ->
            if (value != null) { builder.environment()[name.toString()] = value.toString() }
        }
        Process process = builder.start()
        Long seconds = frames*.seconds.findAll { it != null }.min()
        if (seconds == null) { process.waitFor() } else if (!process.waitFor(seconds, TimeUnit.SECONDS)) {
            process.destroy()
            process.waitFor()
            throw new Aborted("timeout after ${seconds} s")
        }
        script.delete()
        result.commands << [command: command, exit: process.exitValue(), stage: top.name]
        if (process.exitValue() != 0) { throw new RuntimeException("script returned exit code ${process.exitValue()}") }
    }

    void junit(Map how) {
        File file = new File(workspace, how.testResults)
        if (!file.exists()) {
            if (!how.allowEmptyResults) { throw new RuntimeException("No test report files were found: ${how.testResults}") }
            return
        }
        def cases = new XmlSlurper().parse(file).depthFirst().findAll { it.name() == 'testcase' }
        int failed = cases.count { c -> c.children().any { it.name() in ['failure', 'error'] } }
        result.junit = [tests: cases.size(), failed: failed, names: cases.collect { it.@name.text() }]
        if (failed && result.result == 'SUCCESS') { result.result = 'UNSTABLE' }
    }

    void archive(Map how) {
        List patterns = how.artifacts.split(',').collect { ant(it.trim()) }
        List found = []
        workspace.eachFileRecurse(groovy.io.FileType.FILES) { file ->
            def path = workspace.toPath().relativize(file.toPath())
            if (path.getName(0).toString() != '.git' && patterns.any { path.toString() ==~ it }) { found << path }
        }
        if (!found && !how.allowEmptyArchive) { throw new RuntimeException("No artifacts found: ${how.artifacts}") }
        found.each { path ->
            def target = Paths.get(given.archive).resolve(path)
            Files.createDirectories(target.parent)
            Files.copy(workspace.toPath().resolve(path), target, java.nio.file.StandardCopyOption.REPLACE_EXISTING)
        }
        result.archived = (result.archived + found*.toString()).unique()
    }
}

def build = new Build(given: new JsonSlurper().parse(new File(args[1])))
build.start(new File(args[0]).canonicalFile)
new File(args[2]).text = JsonOutput.prettyPrint(JsonOutput.toJson(build.result))
System.exit(build.result.result == 'SUCCESS' ? 0 : 1)

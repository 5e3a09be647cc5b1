// Command release builds everything that a release consists of into a folder:
// archives for each platform, an SBOM for each program, and SHA256SUMS. It
// publishes nothing. See docs/releasing.md; make release runs it.
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	out   = "build/release"
	stage = "build/release-stage" // what the archives are made of; removed at the end
)

// platforms are those of the local binary.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

func main() {
	if err := release(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release() error {
	version, err := output("git", "describe", "--tags", "--exact-match", "--match", "v*")
	if err != nil {
		return errors.New("this commit has no version tag: git tag v1.2.3")
	}
	if changes, err := output("git", "status", "--porcelain"); err != nil || changes != "" {
		return fmt.Errorf("the working tree has changes, or git failed: %v\n%s", err, changes)
	}
	seconds, err := output("git", "show", "--no-patch", "--format=%ct", "HEAD")
	if err != nil {
		return err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	p := packer{version: version, modified: time.Unix(unix, 0).UTC()}
	if err := errors.Join(os.RemoveAll(out), os.RemoveAll(stage), os.MkdirAll(out, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	for _, step := range []func() error{p.local, p.aws, p.azure, checksums} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// packer makes archives whose bytes depend on their content alone: every file
// has the commit's time, and names are in order.
type packer struct {
	version  string
	modified time.Time
}

func (p packer) local() error {
	for _, platform := range platforms {
		goos, arch, _ := strings.Cut(platform, "/")
		dir := filepath.Join(stage, goos+"-"+arch)
		binary := filepath.Join(dir, "taskgate")
		if goos == "windows" {
			binary += ".exe"
		}
		if err := run([]string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + arch},
			"go", "build", "-trimpath", "-buildvcs=true", "-ldflags", "-s -w", "-o", binary, "./functions/local"); err != nil {
			return err
		}
		for _, name := range []string{"README.md", "LICENSE", "CHANGELOG.md"} {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				return err
			}
		}
		archive, format := fmt.Sprintf("taskgate_%s_%s_%s", p.version, goos, arch), p.tarGz
		if goos == "windows" {
			archive, format = archive+".zip", p.zip
		} else {
			archive += ".tar.gz"
		}
		if err := format(archive, dir); err != nil {
			return err
		}
	}
	return p.sbom("taskgate", filepath.Join(stage, "linux-amd64", "taskgate"))
}

func (p packer) aws() error {
	for _, arch := range []string{"arm64", "amd64"} {
		build := filepath.Join(stage, "lambda-"+arch)
		if err := run(nil, "make", "--silent", "aws", "ARCH="+arch, "BUILD="+build); err != nil {
			return err
		}
		for _, app := range []string{"aws", "aws-worker"} {
			if err := p.zip(fmt.Sprintf("taskgate-%s_%s_%s.zip", app, p.version, arch), filepath.Join(build, app)); err != nil {
				return err
			}
			if arch == "arm64" {
				if err := p.sbom("taskgate-"+app, filepath.Join(build, app, "bootstrap")); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// azure packs what Azure Functions runs, which on Flex Consumption is amd64.
func (p packer) azure() error {
	build := filepath.Join(stage, "functions")
	if err := run([]string{"GOOS=linux"}, "make", "--silent", "azure", "ARCH=amd64", "BUILD="+build); err != nil {
		return err
	}
	for app, binary := range map[string]string{"azure": "taskgate", "azure-worker": "taskgate-worker"} {
		err := errors.Join(
			os.RemoveAll(filepath.Join(build, app, "local.settings.json")), // for func start, not for the cloud
			p.zip(fmt.Sprintf("taskgate-%s_%s_amd64.zip", app, p.version), filepath.Join(build, app)),
			p.sbom("taskgate-"+app, filepath.Join(build, app, binary)))
		if err != nil {
			return err
		}
	}
	return nil
}

// sbom writes the program's dependencies in CycloneDX's form.
func (p packer) sbom(program, binary string) error {
	file := filepath.Join(out, program+"_"+p.version+".cdx.json")
	return run(nil, "go", "tool", "-modfile=tools/release.mod", "cyclonedx-gomod", "bin",
		"-json", "-std", "-noserial", "-notimestamp", "-version", p.version, "-output", file, binary)
}

// files calls add for each file below dir, in the order of their names.
func files(dir string, add func(name string, info fs.FileInfo, content io.Reader) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, err := os.Open(path)
		if err != nil {
			return err
		}
		defer content.Close()
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(filepath.ToSlash(name), info, content)
	})
}

// mode is what a file may be used for: programs are executable, nothing else is.
func mode(info fs.FileInfo) fs.FileMode {
	if info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func (p packer) zip(archive, dir string) (err error) {
	f, err := os.Create(filepath.Join(out, archive))
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	err = files(dir, func(name string, info fs.FileInfo, content io.Reader) error {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: p.modified}
		header.SetMode(mode(info))
		w, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, content)
		return err
	})
	return errors.Join(err, z.Close(), f.Close())
}

func (p packer) tarGz(archive, dir string) error {
	f, err := os.Create(filepath.Join(out, archive))
	if err != nil {
		return err
	}
	compressed := gzip.NewWriter(f)
	t := tar.NewWriter(compressed)
	err = files(dir, func(name string, info fs.FileInfo, content io.Reader) error {
		header := &tar.Header{Name: name, Mode: int64(mode(info)), Size: info.Size(), ModTime: p.modified}
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.Copy(t, content)
		return err
	})
	return errors.Join(err, t.Close(), compressed.Close(), f.Close())
}

// checksums writes SHA256SUMS in the form that sha256sum --check reads.
func checksums() error {
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	var lines []string
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(out, entry.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(data), entry.Name()))
		fmt.Printf("%8.1f MB  %s\n", float64(len(data))/1e6, entry.Name())
	}
	slices.Sort(lines)
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644)
}

func output(name string, args ...string) (string, error) {
	text, err := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(text)), err
}

func run(environ []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), environ...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

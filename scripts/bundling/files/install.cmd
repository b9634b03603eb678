@echo off
rem Installs Sealwright from this folder, without network: install.cmd C:\Sealwright
rem Every wheel is checked by pip against wheels\requirements.txt; one changed byte, and nothing is installed.
setlocal DisableDelayedExpansion
if "%~1"=="" goto usage
if exist "%~1" goto there
set "python="
set "newest="
if not defined python call :find py.exe -3
if not defined python call :find python.exe
if not defined python goto missing
"%python%" %newest% -I -m venv "%~1" || goto failed
"%~1\Scripts\python.exe" -I -m pip --isolated install -q --disable-pip-version-check --no-input --no-cache-dir --no-index --only-binary :all: --find-links "%~dp0wheels" --require-hashes -r "%~dp0wheels\requirements.txt" || goto failed
"%~1\Scripts\sealwright.exe" --version || goto failed
echo installed: "%~1\Scripts\sealwright.exe"
exit /b 0
:usage
echo usage: install.cmd FOLDER      makes FOLDER with Sealwright in it 1>&2
exit /b 2
:there
echo install.cmd: "%~1" is already there; name a folder that is not. 1>&2
exit /b 2
:missing
echo install.cmd: Python 3.11 to 3.14, 64 bits, is needed. The folder portable also takes its embeddable package. 1>&2
exit /b 2
:failed
if exist "%~1" rmdir /s /q "%~1"
echo install.cmd: nothing was installed. If a hash does not match, the medium is damaged or altered: see HOW-TO-CHECK.txt. 1>&2
exit /b 1
:find
set "python=%~$PATH:1"
set "newest=%2"
exit /b 0
